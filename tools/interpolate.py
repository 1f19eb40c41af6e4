"""Walk through latent space from one image to another: a straight row (lerp) and a round one (slerp)."""

from pathlib import Path

import torch

from vaezoo.console import MAX_SIZE, add_model_arguments, parser, pretrained, progress
from vaezoo.errors import InputError
from vaezoo.inference.interpolate import lerp, slerp
from vaezoo.io.images import check_picture_path, read_picture, resize_and_crop, save_picture, to_tensor
from vaezoo.io.sheets import tile


def main(arguments: list[str]) -> None:
    arguments_parser = parser("interpolate", __doc__)
    arguments_parser.add_argument("first", type=Path, help="an image")
    arguments_parser.add_argument("second", type=Path, help="another")
    arguments_parser.add_argument("--model", default="vae_f8_z4", help="a model (default: vae_f8_z4)")
    arguments_parser.add_argument("--steps", type=int, default=7, help="images in a row, ends included (default: 7)")
    arguments_parser.add_argument(
        "--size", type=int, default=256, help="both are cropped to this square (default: 256)"
    )
    arguments_parser.add_argument("-o", "--out", type=Path, default=Path("interpolation.png"), help="the picture")
    add_model_arguments(arguments_parser)
    options = arguments_parser.parse_args(arguments)
    check_picture_path(options.out)
    if not 1 <= options.size <= MAX_SIZE:
        raise InputError(f"--size {options.size}: expected 1 to {MAX_SIZE:,} pixels")
    if options.steps < 2:
        raise InputError(f"--steps {options.steps}: a way has at least 2 images, its ends")

    pictures = [resize_and_crop(read_picture(path), options.size) for path in (options.first, options.second)]
    vae = pretrained(options.model, options)
    with torch.inference_mode():
        images = to_tensor(pictures).to(vae.device, vae.dtype)
        first, second = vae.normalize(vae.encode(images).mode()).float().chunk(2)
        rows = []
        for way in (lerp, slerp):
            points = [way(first, second, step / (options.steps - 1)) for step in range(options.steps)]
            latents = [vae.denormalize(point).to(vae.dtype) for point in points]
            rows.append([vae.decode(z).clamp(-1, 1) for z in progress(latents, way.__name__)])
    save_picture(tile(rows), options.out)
    print(f"written: {options.out} (above: lerp, below: slerp, through normalised latents)")
