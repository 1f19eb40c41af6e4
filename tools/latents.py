"""Draw the latents of an image: each channel, three principal components as colors, and the spread of the posterior.

Without arguments it draws those of a sample photo.
"""

from pathlib import Path

import torch

from vaezoo.console import MAX_SIZE, add_model_arguments, check_model, local_path, parser, pretrained, say
from vaezoo.errors import InputError
from vaezoo.evaluation.latent_sheet import latent_sheet
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.inference.reconstruct import check_finite
from vaezoo.io.images import check_picture_path, save_picture, to_tensor
from vaezoo.io.read_image import read_picture
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.specs.catalog import sample_photos


def main(arguments: list[str]) -> None:
    """Run `vaezoo latents`."""
    arguments_parser = parser("latents", __doc__)
    arguments_parser.add_argument("image", nargs="?", type=local_path, help="an image (default: a sample photo)")
    arguments_parser.add_argument("--model", default="vae_f8_z4", help="a model (default: vae_f8_z4)")
    arguments_parser.add_argument(
        "--size", type=int, default=256, help="pixels per side, after a center crop (default: 256)"
    )
    arguments_parser.add_argument("-o", "--out", type=local_path, default=Path("latents.png"), help="picture to write")
    add_model_arguments(arguments_parser)
    options = arguments_parser.parse_args(arguments)
    check_picture_path(options.out)
    if not 1 <= options.size <= MAX_SIZE:
        raise InputError(f"--size {options.size}: expected 1 to {MAX_SIZE:,} pixels")

    check_model(options.model)
    path = options.image or sample_photos()[0]
    picture = resize_and_crop(read_picture(path), options.size)
    vae = pretrained(options.model, options)
    images = to_tensor(picture)
    with torch.inference_mode():
        posterior = vae.encode(images.to(vae.device, vae.dtype))
        decoded = check_finite(vae, vae.decode(posterior.mode()), path.name).clamp(-1, 1).float().cpu()
    sheet = latent_sheet(images, decoded, psnr(images, decoded).item(), posterior, path.name)
    save_picture(sheet, options.out)
    say(f"written: {options.out}: the image, its reconstruction, the three strongest components of its latents as red,")
    say("green and blue, and where the posterior is uncertain; below them each channel of the latents: mid gray is its")
    say("mean, black and white are 3 standard deviations from it.")
