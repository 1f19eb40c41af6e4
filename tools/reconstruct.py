"""Reconstruct images: a side-by-side picture, PSNR, time and peak memory.

Without arguments it reconstructs the bundled sample photos with the bundled weights of vae_f8_z4.
"""

import itertools
from pathlib import Path
from typing import Any

from torch import Tensor

from vaezoo.benchmark.timing import meter
from vaezoo.console import (
    add_json,
    add_model_arguments,
    local_path,
    parser,
    pretrained,
    print_columns,
    print_json,
    progress,
    say,
)
from vaezoo.errors import InputError
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.inference.reconstruct import reconstruct
from vaezoo.io.files import make_folder
from vaezoo.io.images import SUFFIXES, check_picture_path, load_image, save_picture
from vaezoo.io.sheets import difference, tile
from vaezoo.specs.catalog import sample_photos


def main(arguments: list[str]) -> None:
    arguments_parser = parser("reconstruct", __doc__)
    arguments_parser.add_argument("name", nargs="?", default="vae_f8_z4", help="a model (default: vae_f8_z4)")
    arguments_parser.add_argument(
        "images", nargs="*", type=local_path, help="JPEG, PNG or WebP (default: sample photos)"
    )
    arguments_parser.add_argument(
        "-o",
        "--out",
        type=local_path,
        default=Path("reconstruction.png"),
        help="picture to write, or a folder for one each",
    )
    add_model_arguments(arguments_parser)
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    if options.out.suffix:
        check_picture_path(options.out)
    if options.out.resolve() in [path.resolve() for path in options.images]:
        raise InputError(f"-o {options.out} is one of the images; give another file, or a folder")
    if Path(options.name).suffix.lower() in SUFFIXES:
        raise InputError(
            f"{options.name} is a picture; the model comes first: vaezoo reconstruct vae_f8_z4 {options.name}"
        )
    paths = options.images or sample_photos()
    vae = pretrained(options.name, options)
    results: list[dict[str, Any]] = []
    rows: list[list[Tensor]] = []
    for path in progress(paths, "reconstruct"):
        images = load_image(path)
        with meter(vae.device) as measured:
            reconstruction = reconstruct(vae, images)
        rows.append([images, reconstruction, difference(images, reconstruction)])
        results.append(_result(path, images, reconstruction, measured.seconds, measured.peak_mib))
    written = _write(rows, paths, options.out)
    if options.json:
        print_json({"model": options.name, "images": results, "written": [str(path) for path in written]})
    else:
        _print(results, written)


def _result(path: Path, images: Tensor, reconstruction: Tensor, seconds: float, peak_mib: float) -> dict[str, Any]:
    return {
        "image": str(path),
        "height": images.shape[2],
        "width": images.shape[3],
        "psnr": psnr(images, reconstruction).item(),
        "seconds": seconds,
        "peak_mib": peak_mib,
    }


def _write(rows: list[list[Tensor]], paths: list[Path], out: Path) -> list[Path]:
    """Write one contact sheet, or one picture per image if `out` is a folder, and return the paths."""
    if out.suffix:
        save_picture(tile(rows), out)
        return [out]
    folder, written = make_folder(out), list[Path]()
    for row, path in zip(rows, paths, strict=True):
        names = (f"{path.stem}_reconstruction{number or ''}.png" for number in itertools.count())
        target = next(folder / name for name in names if folder / name not in [*written, *paths])
        save_picture(tile([row]), target)
        written.append(target)
    return written


def _print(results: list[dict[str, Any]], written: list[Path]) -> None:
    rows = [
        [
            Path(r["image"]).name,
            f"{r['height']}x{r['width']}",
            f"{r['psnr']:.2f}",
            f"{r['seconds']:.2f}",
            f"{r['peak_mib']:.0f}",
        ]
        for r in results
    ]
    print_columns([["image", "size", "PSNR (dB)", "seconds", "peak MiB"], *rows], right=(1, 2, 3, 4))
    if len(results) > 1:
        say(f"mean PSNR {sum(r['psnr'] for r in results) / len(results):.2f} dB")
    say(f"written: {', '.join(map(str, written))} (input, reconstruction, difference x4)")
