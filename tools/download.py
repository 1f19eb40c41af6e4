"""Fetch weights to this machine, so that they load without a network later."""

import vaezoo
from vaezoo.console import add_json, parser, print_columns, print_json
from vaezoo.finding import local_path
from vaezoo.weights.checkpoint import sha256_of
from vaezoo.weights.hub import Hub


def main(arguments: list[str]) -> None:
    arguments_parser = parser("download", __doc__)
    arguments_parser.add_argument(
        "names", nargs="*", help="models, or hf-hub:org/name@revision (default: all of the zoo)"
    )
    arguments_parser.add_argument("--cache-dir", help="where to keep them (default: the Hugging Face cache)")
    arguments_parser.add_argument("--force", action="store_true", help="fetch again what is there")
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    hub = Hub(cache_dir=options.cache_dir, force_download=options.force)
    results = []
    for name in options.names or vaezoo.list_pretrained():
        path = local_path(name, hub)
        results.append({"name": name, "path": str(path), "bytes": path.stat().st_size, "sha256": sha256_of(path)})
    if options.json:
        print_json(results)
    else:
        rows = [[r["name"], f"{r['bytes']:,}", r["sha256"][:12], r["path"]] for r in results]
        print_columns([["weights", "bytes", "sha256", "path"], *rows], right=(1,))
