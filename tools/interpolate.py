"""Interpolate between the latents of two images, linearly (lerp) and spherically (slerp), and save the results.

Without arguments it interpolates between two sample photos.
"""

from pathlib import Path

import torch

from vaezoo.console import MAX_SIZE, add_model_arguments, check_model, local_path, parser, pretrained, progress, say
from vaezoo.errors import InputError
from vaezoo.inference.interpolate import lerp, slerp
from vaezoo.io.captions import captioned, enlarged
from vaezoo.io.images import check_picture_path, save_picture, to_tensor
from vaezoo.io.read_image import read_picture
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.io.sheets import tile
from vaezoo.specs.catalog import sample_photos


def main(arguments: list[str]) -> None:
    arguments_parser = parser("interpolate", __doc__)
    arguments_parser.add_argument("first", nargs="?", type=local_path, help="an image (default: a sample photo)")
    arguments_parser.add_argument("second", nargs="?", type=local_path, help="another image")
    arguments_parser.add_argument("--model", default="vae_f8_z4", help="a model (default: vae_f8_z4)")
    arguments_parser.add_argument("--steps", type=int, default=7, help="images per row, with both ends (default: 7)")
    arguments_parser.add_argument(
        "--size",
        type=int,
        default=256,
        help="pixels per side, after a center crop (default: 256)",
    )
    arguments_parser.add_argument(
        "-o", "--out", type=local_path, default=Path("interpolation.png"), help="picture to write"
    )
    add_model_arguments(arguments_parser)
    options = arguments_parser.parse_args(arguments)
    check_picture_path(options.out)
    if not 1 <= options.size <= MAX_SIZE:
        raise InputError(f"--size {options.size}: expected 1 to {MAX_SIZE:,} pixels")
    if options.steps < 2:
        raise InputError(f"--steps {options.steps}: expected at least 2 images, the two ends")

    paths = [options.first, options.second] if options.first else sample_photos()[:2]
    if paths[1] is None:
        raise InputError(f"{paths[0]}: name two images, or none for two sample photos")
    check_model(options.model)
    pictures = [resize_and_crop(read_picture(path), options.size) for path in paths]
    vae = pretrained(options.model, options)
    with torch.inference_mode():
        images = to_tensor(pictures).to(vae.device, vae.dtype)
        first, second = vae.normalize(vae.encode(images).mode()).float().chunk(2)
        positions = [step / (options.steps - 1) for step in range(options.steps)]
        ends = {0.0: f", {paths[0].name}", 1.0: f", {paths[1].name}"}
        rows: list[list[torch.Tensor]] = []
        for interpolate in (lerp, slerp):
            latents = [vae.denormalize(interpolate(first, second, t)).to(vae.dtype) for t in positions]
            decoded = [vae.decode(z).clamp(-1, 1) for z in progress(latents, interpolate.__name__)]
            texts = [f"{interpolate.__name__}, t = {t:.3g}{ends.get(t, '')}" for t in positions]
            rows.append([captioned(enlarged(image), text) for image, text in zip(decoded, texts, strict=True)])
    save_picture(tile(rows), options.out)
    say(f"written: {options.out}: from {paths[0].name} on the left (t = 0) to {paths[1].name} on the right (t = 1)")
    say("top: lerp, the straight line between both latents; its middle has a smaller norm, so it looks flatter.")
    say("bottom: slerp, the arc, along which the norm changes evenly. Both go between normalized latents.")
