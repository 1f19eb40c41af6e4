"""Publish a model on the Hugging Face Hub in one commit, with a model card measured from its weights."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import vaezoo
from vaezoo.console import add_json, check_model, parser, print_columns, print_json, progress, say
from vaezoo.sharing.publish import check_push
from vaezoo.specs.names import parse_name
from vaezoo.training.artifacts import training_text
from vaezoo.weights.config_json import CONFIG


def main(arguments: list[str]) -> None:
    arguments_parser = parser("publish", __doc__)
    arguments_parser.add_argument("name", help="a run folder or saved folder, network.tag, or file:…")
    arguments_parser.add_argument("repo", help="repository, organization/name")
    arguments_parser.add_argument("--license", required=True, help="license id of the Hub, such as mit")
    arguments_parser.add_argument("--message", help="commit message")
    arguments_parser.add_argument("--revision", help="branch to commit to (default: main)")
    arguments_parser.add_argument("--tag", help="tag to put on the commit")
    arguments_parser.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    arguments_parser.add_argument("--create-pr", action="store_true", help="open a pull request instead")
    arguments_parser.add_argument("--with", dest="extra", choices=["diffusers"], help="also export for diffusers")
    arguments_parser.add_argument("--dry-run", action="store_true", help="only list the files that would be sent")
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    text = options.name
    if Path(text, CONFIG).is_file() and not vaezoo.is_model(text):
        text = f"local-dir:{text}"
    check_model(text)
    check_push(options.repo, options.license, options.tag, options.create_pr)
    vae, name = vaezoo.create(text, pretrained=True, dtype=None), parse_name(text)
    push = vaezoo.push_to_hub(
        vae,
        options.repo,
        license=options.license,
        message=options.message,
        revision=options.revision,
        private=options.private,
        create_pr=options.create_pr,
        tag=options.tag,
        with_diffusers=options.extra == "diffusers",
        training=training_text(Path(name.id, name.subfolder or "")) if name.source == "local-dir" else None,
        dry_run=options.dry_run,
        track=_tracked,
    )
    if options.json:
        print_json(push._asdict())
        return
    print_columns([[name, f"{size:,} bytes"] for name, size in push.files.items()], right=(1,))
    say("dry run: nothing was sent" if options.dry_run else f"{push.url}")


def _tracked(photos: Sequence[Path]) -> Iterable[Path]:
    say("vaezoo publish: reconstructing the sample photos for the model card", file=sys.stderr)
    return progress(photos, "model card")
