"""Measure models on photos by one protocol: reconstruction, perceptual distances, and latents.

Under `torchrun --nproc-per-node N -m vaezoo.cli evaluate …` N processes share the photos.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch

import vaezoo
from vaezoo.console import (
    add_bad,
    add_json,
    add_model_arguments,
    check_model,
    local_path,
    parser,
    pretrained,
    print_json,
    progress,
    say,
)
from vaezoo.data.photo_files import split_folder
from vaezoo.data.photo_inputs import bad_text
from vaezoo.data.photos import photos
from vaezoo.distributed import ProcessGroup, local_device, process_group
from vaezoo.errors import InputError
from vaezoo.evaluation.case_sheet import case_sheet
from vaezoo.evaluation.nets.registry import STANDARD, check_nets, open_nets
from vaezoo.evaluation.protocol import LATEST, PROTOCOLS, Evaluation, evaluate
from vaezoo.evaluation.results import add_row, check_results, hardware, model_cells, row_of
from vaezoo.evaluation.tally import Nets
from vaezoo.io.images import check_picture_path, save_picture
from vaezoo.nn.build import build
from vaezoo.nn.dtypes import DTYPES
from vaezoo.nn.vae import VAE
from vaezoo.specs.names import parse_name
from vaezoo.zoo.create import usable_device


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    if options.out:
        check_results(options.out)
    if options.sheet:
        check_picture_path(options.sheet)
        if len(options.names) > 1 or options.count < 1:
            raise InputError("--sheet shows --count cases of one model: name one model, and a --count of at least 1")
    check_model(*options.names)
    found, protocol = photos(options.data, options.split, options.root), PROTOCOLS[options.protocol]
    options.device = local_device(options.device)
    _check_models(options)
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
    with process_group("cpu") as group:  # results are gathered on the CPU
        nets = _nets(options, group) if protocol.measures_all else Nets()
        results = []
        for name in options.names:
            vae = pretrained(name, options)
            about = _about(vae, nets, options) if group.is_first else {}  # before the files can change
            result = evaluate(
                vae,
                found,
                options.size,
                protocol,
                sample=options.sample,
                nets=nets,
                processes=group,
                keep=options.count if options.sheet else 0,
                skip_bad=options.bad == "skip",
                track=partial(progress, label=name) if group.is_first else iter,
            )
            if group.is_first:
                row = row_of(result, about)
                source = vae.source.to_dict() if vae.source else None
                each = {"psnr_of": dict(zip(result.names, result.psnr, strict=True))}
                results.append({**row, "source": source, **each, "bad": [bad._asdict() for bad in result.bad]})
                _report(name, result, row, options)
    if options.json and group.is_first:
        print_json(results)


def _check_models(options: argparse.Namespace) -> None:
    """Check networks, size, device and names of metrics, before anything large is fetched or measured."""
    usable_device(options.device)
    check_nets(options.nets)
    for name in options.names:
        if parse_name(name).source != "file":  # whose network only its content shows
            build(vaezoo.get_spec(name), "meta").diffusion_shape(options.size, options.size)


def _options(arguments: list[str]) -> argparse.Namespace:
    arguments_parser = parser("evaluate", __doc__)
    arguments_parser.add_argument("names", nargs="+", help="names of models with weights")
    arguments_parser.add_argument(
        "--data",
        type=local_path,
        required=True,
        help="photos: a folder, .tar or .parquet files, or a dataset as timm names it: hfds/org/name",
    )
    arguments_parser.add_argument("--split", help="split of a dataset (default: validation), or subfolder of a folder")
    arguments_parser.add_argument("--root", type=local_path, help="folder of the dataset")
    arguments_parser.add_argument("--size", type=int, default=256, help="image side in pixels (default: 256)")
    arguments_parser.add_argument(
        "--protocol", choices=PROTOCOLS, default=LATEST.name, help=f"(default: {LATEST.name})"
    )
    arguments_parser.add_argument("--sample", action="store_true", help="decode samples of the posterior, not its mode")
    arguments_parser.add_argument(
        "--nets",
        nargs="*",
        default=STANDARD,
        help=f"networks for metrics: {', '.join(STANDARD)} (default), and one timm model for a Fréchet distance",
    )
    arguments_parser.add_argument("--out", type=local_path, help="CSV file to which a row is added for each model")
    arguments_parser.add_argument("--sheet", type=local_path, help="picture to write with the worst cases, worst first")
    arguments_parser.add_argument("--count", type=int, default=8, help="number of worst cases in --sheet (default: 8)")
    add_bad(arguments_parser)
    add_model_arguments(arguments_parser)
    add_json(arguments_parser)
    return arguments_parser.parse_args(arguments)


def _nets(options: argparse.Namespace, group: ProcessGroup) -> Nets:
    """The networks that every process can open; prints which are missing, and why."""
    nets, missing = open_nets(options.nets, options.device)
    missing = {name: why for found in group.gather(missing) for name, why in found.items()}
    for name, why in missing.items():
        if group.is_first:
            say(f"vaezoo evaluate: without {name}: {why}", file=sys.stderr)
    return nets.without(missing)


def _about(vae: VAE, nets: Nets, options: argparse.Namespace) -> dict[str, str]:
    """The cells of a row that an evaluation does not know."""
    return {
        **model_cells(vae),
        "nets": " ".join([*nets.distances, *nets.features]),
        "dtype": next(name for name, dtype in DTYPES.items() if dtype == vae.dtype),
        "data": _data_name(options.data, options.split),
        "vaezoo": vaezoo.__version__,
        "torch": torch.__version__.partition("+")[0],
        "timm": timm.__version__,
        "hardware": hardware(vae.device),
    }


def _data_name(folder: Path, split: str | None) -> str:
    if not folder.exists():
        return f"{folder}:{split or 'validation'}"
    used = split_folder(folder, split)
    return folder.resolve().name if used == folder else f"{folder.resolve().name}/{used.name}"


def _report(name: str, result: Evaluation, row: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the row and the sheet, and print one line."""
    if small := result.enlarged:
        text = f"{small} of {len(result.names)} photos are smaller than {result.size} pixels and were enlarged"
        say(f"vaezoo evaluate: {text}", file=sys.stderr)
    if result.bad:
        total = len(result.names) + len(result.bad)
        say(f"vaezoo evaluate: {bad_text(result.bad, total)}", file=sys.stderr)
    if options.sheet:
        save_picture(case_sheet(result.worst, result.names), options.sheet)
    if options.out:
        add_row(options.out, row)  # last, so that with the row all is there
    if options.json:
        return
    marks = {"SSIM": "ssim", "luma": "luma_error", "chroma": "chroma_error", "LPIPS": "lpips_vgg", "rFID": "rfid"}
    more = "".join(f", {mark} {row[column]:.3f}" for mark, column in marks.items() if row[column] is not None)
    conditions = f"{len(result.names)} images at {result.size}x{result.size} ({result.protocol.name})"
    say(f"{name}: {result.mean_psnr:.2f} ± {result.spread('psnr'):.2f} dB{more} over {conditions}")
    if options.sheet:
        shown = ", ".join(f"{result.names[case.index]} {case.psnr:.2f} dB" for case in result.worst)
        say(f"written: {options.sheet} (input, reconstruction, difference x4, latents): {shown}")
