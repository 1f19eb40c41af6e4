"""Reconstruct images: a side-by-side picture, PSNR, time and peak memory.

Without arguments it reconstructs the bundled sample photos with the bundled weights of vae_f8_z4. With --tile, large
pictures are read and written in strips.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaezoo.benchmark.timing import Usage, meter
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
    work_bar,
)
from vaezoo.errors import InputError
from vaezoo.evaluation.metrics.psnr import decibels, psnr
from vaezoo.inference.reconstruct import reconstruct
from vaezoo.inference.stream import reconstruct_rows
from vaezoo.io.files import make_folder
from vaezoo.io.images import SUFFIXES, check_picture_path, load_image, save_picture, to_array, to_pil, to_tensor
from vaezoo.io.pixels import Array
from vaezoo.io.read_image import read_picture
from vaezoo.io.sheets import GAP, difference, stacked, tile
from vaezoo.nn.vae import VAE
from vaezoo.specs.catalog import sample_photos

T = TypeVar("T")


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
    if options.tile is not None:
        sheets: list[Array] = []
        for path in paths:
            sheets.append(_by_strips(vae, path, results))
        written = _write(sheets, paths, options.out, lambda chosen: Image.fromarray(stacked(chosen)))
    else:
        rows: list[list[Tensor]] = []
        for path in progress(paths, "reconstruct"):
            rows.append(_whole(vae, path, results))
        written = _write(rows, paths, options.out, lambda chosen: to_pil(tile(chosen)))
    if options.json:
        print_json({"model": options.name, "images": results, "written": [str(path) for path in written]})
    else:
        _print(results, written)


def _whole(vae: VAE, path: Path, results: list[dict[str, Any]]) -> list[Tensor]:
    """Reconstruct a picture, append its figures to `results`, and return the images to show."""
    images = load_image(path)
    with meter(vae.device) as measured:
        reconstruction = reconstruct(vae, images)
    results.append(_result(path, images.shape[2:], psnr(images, reconstruction).item(), measured))
    return [images, reconstruction, difference(images, reconstruction)]


def _by_strips(vae: VAE, path: Path, results: list[dict[str, Any]]) -> Array:
    """Reconstruct a picture strip by strip, append its figures to `results`, and return the images to show as one."""
    picture = np.asarray(read_picture(path))
    height, width = picture.shape[:2]
    sheet = np.empty((height, 3 * width + 2 * GAP, 3), np.uint8)
    error = torch.zeros((), dtype=torch.float64)
    with meter(vae.device) as measured, work_bar(path.name) as advance:
        for first, rows in reconstruct_rows(vae, picture, advance):
            last = first + rows.shape[2]
            images = to_tensor(picture[first:last])
            sheet[first:last] = to_array(tile([[images, rows, difference(images, rows)]]))
            error += (images - rows).double().square().sum()
    results.append(_result(path, (height, width), decibels(error / (3 * height * width)).item(), measured))
    return sheet


def _result(path: Path, size: Sequence[int], quality: float, measured: Usage) -> dict[str, Any]:
    return {
        "image": str(path),
        "height": size[0],
        "width": size[1],
        "psnr": quality,
        "seconds": measured.seconds,
        "peak_mib": measured.peak_mib,
    }


def _write(shown: list[T], paths: list[Path], out: Path, draw: Callable[[list[T]], Image.Image]) -> list[Path]:
    """Write one picture of all that is shown, or one for each image if `out` is a folder, and return the paths."""
    if out.suffix:
        save_picture(draw(shown), out)
        return [out]
    folder, written = make_folder(out), list[Path]()
    for each, path in zip(shown, paths, strict=True):
        names = (f"{path.stem}_reconstruction{number or ''}.png" for number in itertools.count())
        target = next(folder / name for name in names if folder / name not in [*written, *paths])
        save_picture(draw([each]), target)
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
