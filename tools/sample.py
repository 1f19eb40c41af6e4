"""Decode random latents, drawn from the latent statistics of a model.

Each latent value is drawn independently from a normal distribution with the mean and standard deviation of its channel.
That shows the textures that a decoder produces; it is not a generative model of images.
"""

from pathlib import Path

import torch

from vaezoo.console import MAX_SIZE, add_model_arguments, check_model, local_path, parser, pretrained, progress, say
from vaezoo.errors import InputError
from vaezoo.io.captions import captioned, enlarged
from vaezoo.io.files import make_folder
from vaezoo.io.images import check_picture_path, save_picture
from vaezoo.io.sheets import tile

_COLUMNS, _MOST_PIXELS = 4, 256_000_000  # of a sheet


def main(arguments: list[str]) -> None:
    arguments_parser = parser("sample", __doc__)
    arguments_parser.add_argument("name", nargs="?", default="vae_f8_z4", help="a model (default: vae_f8_z4)")
    arguments_parser.add_argument("--count", type=int, default=8, help="number of draws (default: 8)")
    arguments_parser.add_argument("--size", type=int, default=256, help="pixels per side (default: 256)")
    arguments_parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    out_help = "picture to write, or a folder for one each"
    arguments_parser.add_argument("-o", "--out", type=local_path, default=Path("samples.png"), help=out_help)
    add_model_arguments(arguments_parser)
    options = arguments_parser.parse_args(arguments)
    if options.out.suffix:
        check_picture_path(options.out)
    if not 1 <= options.size <= MAX_SIZE:
        raise InputError(f"--size {options.size}: expected 1 to {MAX_SIZE:,} pixels")
    if not 1 <= options.count <= 10_000:
        raise InputError(f"--count {options.count}: expected 1 to 10,000")
    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed {options.seed}: expected 0 to 2^63 - 1")
    pixels = options.count * options.size**2
    if options.out.suffix and options.count > 1 and pixels > _MOST_PIXELS:
        raise InputError(f"{pixels / 1e6:,.0f} megapixels for one sheet; give a folder: -o FOLDER")

    check_model(options.name)
    vae = pretrained(options.name, options)
    shape = vae.diffusion_shape(options.size, options.size)
    noise = torch.randn(options.count, *shape, generator=torch.Generator().manual_seed(options.seed))
    latents = vae.denormalize(noise.to(vae.device)).to(vae.dtype)
    folder = None if options.out.suffix else make_folder(options.out)
    images: list[torch.Tensor] = []
    for index, z in enumerate(progress(latents, "sample")):
        with torch.inference_mode():
            images.append(vae.decode(z[None]).clamp(-1, 1).cpu())
        if folder:
            save_picture(images.pop(), folder / f"sample_{index:04}.png")
    if images:
        drawn = [captioned(enlarged(image), f"draw {index}") for index, image in enumerate(images)]
        save_picture(tile([drawn[i : i + _COLUMNS] for i in range(0, len(drawn), _COLUMNS)]), options.out)
    say(f"written: {options.out}: {options.count} draws, each latent value independent of all others. They show the")
    say("textures that the decoder produces; this is not a generative model of images.")
