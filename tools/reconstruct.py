"""Reconstruct images: a side-by-side picture, PSNR, time and peak memory.

Without arguments it reconstructs the bundled sample photos with the bundled weights of vae_f8_z4. With a folder as -o
each picture is written as soon as it is made. With --tile, large pictures are read and written in strips.
"""

import itertools
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaezoo.benchmark.timing import Usage, meter
from vaezoo.console import (
    add_bad,
    add_json,
    add_model_arguments,
    check_model,
    local_path,
    parser,
    pretrained,
    print_columns,
    print_json,
    progress,
    say,
    say_above_bar,
    work_bar,
)
from vaezoo.data.photo_inputs import BadPhoto, bad_text, check_some_read, given_photos, read_or_skip
from vaezoo.data.photos import Photo
from vaezoo.errors import InputError
from vaezoo.evaluation.metrics.psnr import decibels, psnr
from vaezoo.inference.reconstruct import reconstruct
from vaezoo.inference.stream import reconstruct_rows
from vaezoo.io.captions import DIFFERENCE, caption, captioned, reconstruction_caption
from vaezoo.io.files import make_folder
from vaezoo.io.images import SUFFIXES, check_picture_path, save_picture, to_array, to_pil, to_tensor
from vaezoo.io.pixels import Array
from vaezoo.io.sheets import GAP, difference, stacked, tile
from vaezoo.nn.vae import VAE
from vaezoo.specs.catalog import sample_photos

MOST_ON_A_SHEET, MOST_PIXELS = 64, 128_000_000  # photos of one sheet, and their pixels together unless it is one photo
Shown = list[Tensor] | Array  # input, reconstruction and difference; in strips drawn as one
Figures = dict[str, Any]


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    photos = given_photos(options.images or sample_photos())
    out = _Sheet(options.out, len(photos)) if options.out.suffix else _Folder(options.out, photos)
    check_model(options.name)
    vae = pretrained(options.name, options)
    results: list[Figures] = []
    bad: list[BadPhoto] = []
    for photo in progress(photos, "reconstruct") if options.tile is None else photos:
        if (picture := read_or_skip(photo, bad if options.bad == "skip" else None)) is not None:
            figures, shown = (_whole if options.tile is None else _by_strips)(vae, photo, picture)
            out.add(photo, shown)
            results.append(figures)
            if isinstance(out, _Folder) and not options.json:
                _, size, quality, seconds, peak = _cells(figures)
                say_above_bar(f"{out.written[-1]}: {size}, {quality} dB, {seconds} s, peak {peak} MiB")
    check_some_read(bad, len(photos))
    out.close()
    if options.json:
        written, left_out = [str(path) for path in out.written], [each._asdict() for each in bad]
        print_json({"model": options.name, "images": results, "written": written, "bad": left_out})
    else:
        _print(results, out)
    if bad:
        say(f"vaezoo reconstruct: {bad_text(bad, len(photos))}", file=sys.stderr)


def _options(arguments: list[str]) -> Namespace:
    arguments_parser = parser("reconstruct", __doc__)
    add = arguments_parser.add_argument
    add("name", nargs="?", default="vae_f8_z4", help="a model (default: vae_f8_z4)")
    add(
        "images",
        nargs="*",
        type=local_path,
        help="JPEG, PNG or WebP files, folders or .tar files of them (default: sample photos)",
    )
    add(
        "-o",
        "--out",
        type=local_path,
        default=Path("reconstruction.png"),
        help="picture to write, or a folder for one each",
    )
    add_bad(arguments_parser)
    add_model_arguments(arguments_parser)
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)
    if Path(options.name).suffix.lower() in SUFFIXES:
        raise InputError(
            f"{options.name} is a picture; the model comes first: vaezoo reconstruct vae_f8_z4 {options.name}"
        )
    out = options.out.resolve()
    for path in options.images:
        if out == path.resolve() and not path.is_dir():
            raise InputError(f"-o {options.out} is one of the images; give another file, or a folder")
        if path.is_dir() and path.resolve() in (out, *out.parents):
            raise InputError(f"-o {options.out} is in {path}, whose photos are the input; give a folder elsewhere")
    return options


class _Sheet:
    """Collects the images of all photos, and writes them as one picture at the end."""

    def __init__(self, path: Path, photos: int) -> None:
        check_picture_path(path)
        if photos > MOST_ON_A_SHEET:
            raise InputError(
                f"{photos:,} photos for one sheet, which holds {MOST_ON_A_SHEET}; give a folder: -o FOLDER"
            )
        self.path, self.rows, self.pixels = path, list[Shown](), 0
        self.written: list[Path] = []

    def add(self, photo: Photo, shown: Shown) -> None:
        self.pixels += shown[0].shape[-2] * shown[0].shape[-1] if isinstance(shown, list) else shown.size // 9
        if self.rows and self.pixels > MOST_PIXELS:
            raise InputError(
                f"{len(self.rows) + 1} photos have {self.pixels / 1e6:,.0f} megapixels, too many for one sheet, which "
                f"holds {MOST_PIXELS / 1e6:.0f}; give a folder: -o FOLDER"
            )
        self.rows.append(shown)

    def close(self) -> None:
        save_picture(_drawn(self.rows), self.path)
        self.written.append(self.path)


class _Folder:
    """Writes a picture for each photo, in the subfolders that the photos have, and never over an input."""

    def __init__(self, folder: Path, photos: Sequence[Photo]) -> None:
        self.folder = make_folder(folder)
        self.taken = {Path(photo.location).resolve() for photo in photos}
        self.written: list[Path] = []

    def add(self, photo: Photo, shown: Shown) -> None:
        name = PurePosixPath(photo.name)
        parts = [part for part in name.parent.parts if part not in ("..", name.anchor)]  # an archive may have any name
        folder = make_folder(self.folder.joinpath(*parts))
        names = (f"{name.stem}_reconstruction{number or ''}.png" for number in itertools.count())
        target = next(folder / each for each in names if (folder / each).resolve() not in self.taken)
        save_picture(_drawn([shown]), target)
        self.taken.add(target.resolve())
        self.written.append(target)

    def close(self) -> None:
        """All pictures are written."""


def _drawn(rows: Sequence[Shown]) -> Image.Image:
    drawn = [row for row in rows if isinstance(row, np.ndarray)]
    return Image.fromarray(stacked(drawn)) if drawn else to_pil(tile([row for row in rows if isinstance(row, list)]))


def _whole(vae: VAE, photo: Photo, picture: Image.Image) -> tuple[Figures, Shown]:
    """Reconstruct a picture, and return its figures and the images to show."""
    images = to_tensor(picture)
    with meter(vae.device) as measured:
        reconstruction = reconstruct(vae, images)
    quality = psnr(images, reconstruction).item()
    shown = (images, reconstruction, difference(images, reconstruction))
    drawn = [captioned(image, text) for image, text in zip(shown, _captions(photo, quality), strict=True)]
    return _figures(photo, images.shape[2:], quality, measured), drawn


def _by_strips(vae: VAE, photo: Photo, picture: Image.Image) -> tuple[Figures, Shown]:
    """Reconstruct a picture strip by strip, and return its figures and the images to show as one."""
    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    below = len(_caption_row(photo, 0, width))
    sheet = np.empty((height + below, 3 * width + 2 * GAP, 3), np.uint8)
    error = torch.zeros((), dtype=torch.float64)
    with meter(vae.device) as measured, work_bar(photo.name) as advance:
        for first, rows in reconstruct_rows(vae, pixels, advance):
            last = first + rows.shape[2]
            images = to_tensor(pixels[first:last])
            sheet[first:last] = to_array(tile([[images, rows, difference(images, rows)]]))
            error += (images - rows).double().square().sum()
    quality = decibels(error / (3 * height * width)).item()
    sheet[height:] = _caption_row(photo, quality, width)[:below]
    return _figures(photo, (height, width), quality, measured), sheet


def _captions(photo: Photo, quality: float) -> tuple[str, str, str]:
    return PurePosixPath(photo.name).name, reconstruction_caption(quality), DIFFERENCE


def _caption_row(photo: Photo, quality: float, width: int) -> Array:
    return to_array(tile([[caption(text, width) for text in _captions(photo, quality)]]))


def _figures(photo: Photo, size: Sequence[int], quality: float, measured: Usage) -> Figures:
    return {
        "image": photo.location,
        "height": size[0],
        "width": size[1],
        "psnr": quality,
        "seconds": measured.seconds,
        "peak_mib": measured.peak_mib,
    }


def _cells(figures: Figures) -> list[str]:
    size, quality = f"{figures['height']}x{figures['width']}", f"{figures['psnr']:.2f}"
    return [Path(figures["image"]).name, size, quality, f"{figures['seconds']:.2f}", f"{figures['peak_mib']:.0f}"]


def _print(results: Sequence[Figures], out: _Sheet | _Folder) -> None:
    if isinstance(out, _Sheet):
        head = ["image", "size", "PSNR (dB)", "seconds", "peak MiB"]
        print_columns([head, *map(_cells, results)], right=(1, 2, 3, 4))
    if len(results) > 1:
        say(f"mean PSNR {sum(r['psnr'] for r in results) / len(results):.2f} dB")
    where = out.path if isinstance(out, _Sheet) else f"{len(out.written):,} pictures in {out.folder}"
    say(f"written: {where} (input, reconstruction, difference x4)")
