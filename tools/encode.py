"""Encode a data set into shards of latents, from which a diffusion model is trained (docs/latents.md):

  vaezoo encode vae_f8_z4_micro --data photos --out latents --size 256 --flip

A second call makes what is missing, also after a kill or when photos were added or changed. For a folder of latents:

  vaezoo encode --check latents                                     read all of it and list its faults
  vaezoo encode --peek latents --out peek.png                       decode some of it
  vaezoo encode --export lightningdit --from latents --out dit      write it for another trainer

vaezoo encode --check latents --help describes their options.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from vaezoo.console import add_bad, add_json, local_path, parser, print_json, progress, say
from vaezoo.errors import FileError, InputError
from vaezoo.inference.process_memory import keep_freed_memory
from vaezoo.io.escape import terminal_text
from vaezoo.io.images import check_picture_path, save_picture
from vaezoo.jobs.job_engine import add_engine_arguments
from vaezoo.latents.buckets import RESIZES
from vaezoo.latents.check_latents import check_latents
from vaezoo.latents.encode import EncodeSummary, encode_dataset
from vaezoo.latents.encode_settings import COMPUTE
from vaezoo.latents.exports.formats import EXPORTS, export_latents
from vaezoo.latents.peek import peek
from vaezoo.latents.shard_encoder import EncodeMeter
from vaezoo.nn.dtypes import DTYPES

SHOWN = 10  # bad and gone photos that are listed; dataset.json has all of them


def main(arguments: list[str]) -> None:
    if any(word.partition("=")[0] in ("--check", "--peek", "--export") for word in arguments):
        _on_folder(_folder_options(arguments))
        return
    options = _options(arguments)
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
    keep_freed_memory()
    settings = {name: value for name, value in vars(options).items() if name in (encode_dataset.__kwdefaults__ or ())}
    with tqdm(desc=terminal_text(options.name), unit="photo", leave=False, disable=not sys.stderr.isatty()) as bar:

        def on_batch(count: int, meter: EncodeMeter) -> None:
            bar.update(count)
            bar.set_postfix_str(f"waiting for photos {meter.waiting_share:.0%}")

        def on_start(count: int) -> None:
            bar.reset(count)

        settings |= {"track": progress, "on_batch": on_batch, "on_start": on_start}
        summary = encode_dataset(options.name, options.data, options.out, **settings)
    if options.json:
        print_json(summary.to_dict())
    else:
        _report(summary)


def _options(arguments: list[str]) -> Namespace:
    arguments_parser = parser("encode", __doc__)
    add = arguments_parser.add_argument
    add("name", help="name of a model with weights")
    add("--data", required=True, help="photos: a folder, .tar or .parquet files, or a dataset (docs/evaluation.md)")
    add("--out", type=local_path, required=True, help="folder of the latents")
    add("--split", help="split of a dataset (default: validation), or subfolder of a folder")
    add("--root", type=local_path, help="folder of the dataset")
    add(
        "--resize",
        choices=RESIZES,
        default="center",
        help="square, own size, buckets of SDXL or kohya (default: center)",
    )
    add("--size", type=int, help="pixels (default: 256 for center, 1024 for buckets and kohya, any for multiple)")
    add("--flip", action="store_true", help="encode the mirrored photos, too")
    add("--captions", action="store_true", help="store the text beside each photo: .txt, .json, or a column")
    add("--labels", action="store_true", help="store the label of each photo: .cls, a column, or its subfolder")
    add("--dtype", choices=DTYPES, default="bf16", help="dtype in which latents are stored (default: bf16)")
    add("--compute", choices=COMPUTE, default="auto", help="dtype in which the model runs (default: auto)")
    add("--shard-size", type=int, default=512, metavar="N", help="most photos of a shard (default: 512)")
    add("--batch", type=int, help="photos of a batch (default: 16 at 256 pixels, fewer if they are larger)")
    add("--workers", type=int, help="processes that decode photos, for each job")
    add("--device", help="cpu, cuda, cuda:1, … (default: a GPU, if there is one)")
    add_bad(arguments_parser)
    add("--verify", action="store_true", help="compare SHA-256, too, and not only size and time of change")
    add_engine_arguments(arguments_parser, "processes that encode")
    add_json(arguments_parser)
    return arguments_parser.parse_args(arguments)


def _folder_options(arguments: list[str]) -> Namespace:
    arguments_parser = parser("encode", "Check a folder of latents, show some of it, or write it for another trainer.")
    add, one_of = arguments_parser.add_argument, arguments_parser.add_mutually_exclusive_group(required=True)
    one_of.add_argument("--check", type=local_path, metavar="FOLDER", help="list the faults of a folder")
    one_of.add_argument("--peek", type=local_path, metavar="FOLDER", help="draw a contact sheet of decoded latents")
    one_of.add_argument("--export", choices=EXPORTS, help="layout of another trainer (docs/latents.md)")
    add("--from", dest="source", type=local_path, metavar="FOLDER", help="for --export: the folder of latents")
    add("--out", type=local_path, help="for --export: folder to write; for --peek: picture (default: peek.png)")
    add("--mode", action="store_true", help="for --export: posterior modes instead of one sample of each")
    add("--seed", type=int, default=0, help="for --export: seed of the samples (default: 0)")
    add("--count", type=int, default=12, help="for --peek: most pictures (default: 12)")
    add("--device", help="for --peek: cpu, cuda, … (default: cpu)")
    add_json(arguments_parser)
    return arguments_parser.parse_args(arguments)


def _on_folder(options: Namespace) -> None:
    if options.check:
        _check(options)
    elif options.peek:
        out = options.out or Path("peek.png")
        check_picture_path(out)
        save_picture(peek(options.peek, options.count, options.device, progress), out)
        print_json({"written": str(out)}) if options.json else say(f"written: {out}")
    elif not options.source or not options.out:
        raise InputError(f"--export {options.export} needs --from FOLDER and --out FOLDER")
    else:
        sample = not options.mode
        text = export_latents(options.source, options.out, options.export, sample=sample, seed=options.seed)
        print_json({"written": str(options.out), "what": text}) if options.json else say(f"{options.out}: {text}")


def _check(options: Namespace) -> None:
    faults = []
    for fault in check_latents(options.check, progress):
        faults.append(fault)
        if not options.json:
            say(fault)
    if options.json:
        print_json({"folder": str(options.check), "faults": faults})
    if faults:
        raise FileError(f"{options.check}: {len(faults):,} fault{'s' if len(faults) > 1 else ''}")
    if not options.json:
        say(f"{options.check}: no faults")


def _report(summary: EncodeSummary) -> None:
    facts, done = summary.facts, summary.shards - summary.made
    sizes = ", ".join(f"{count:,} at {bucket}" for bucket, count in facts.buckets.items()) or "no photo was encoded"
    say(f"{summary.folder}: {facts.count:,} latents ({sizes}) in {_count(summary.shards, 'shard')}")
    rate = f", {summary.photos / summary.seconds:.1f} photos/s" if summary.photos else ""
    say(
        f"made {_count(summary.made, 'shard')} in {summary.seconds:.0f} s{rate}; skipped {done:,} that were done before"
    )
    if summary.changed:
        say(f"{_count(len(summary.changed), 'photo')} had changed: {_listed(summary.changed)}")
    if facts.gone:
        say(f"gone from the source, with their latents kept: {_listed(facts.gone)}")
    if facts.bad:
        say(f"not encoded: {_count(len(facts.bad), 'photo')}, all of which dataset.json lists:", file=sys.stderr)
        for each in facts.bad[:SHOWN]:
            say(f"  {each['key']}: {each['reason']}", file=sys.stderr)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", …" if len(keys) > SHOWN else "")
