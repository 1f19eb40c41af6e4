"""Compare diffusers' blended tiles with exact strips on the sample photos: `python scripts/compare_tiles.py [MODEL]`.

Writes `docs/results/tiles.csv` and `docs/images/tiles.jpg`. Both ways decode the same latents with the same decoder: in
tiles of 128 pixels, which overlap by a quarter as is the default of diffusers, and in strips of 128 pixels.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
import torch.nn.functional as F
from csv_rows import write_rows
from torch import Tensor

import vaezoo
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.io.captions import captioned
from vaezoo.io.images import save_picture, to_pil
from vaezoo.io.sheets import difference, tile
from vaezoo.specs.catalog import sample_photos

DOCS = Path(__file__).resolve().parents[1] / "docs"
TILE, GAIN = 128, 8
BLOCK = 32  # pixels per side of the blocks whose mean color is compared


def in_diffusers(vae: vaezoo.VAE) -> diffusers.AutoencoderKL:
    """Return a model of diffusers that decodes in tiles, with our decoder in the place of its own."""
    model = diffusers.AutoencoderKL(norm_num_groups=1, block_out_channels=(1,), use_post_quant_conv=False)
    model.decoder = vae.decoder
    model.enable_tiling()
    model.tile_sample_min_size, model.tile_latent_min_size = TILE, TILE // vae.downscale
    return model


def figures(name: str, how: str, whole: Tensor, made: Tensor) -> dict[str, str]:
    """Return how far a result is from decoding the whole latent, in 8-bit levels."""
    error = (made - whole) * 127.5
    tone = F.avg_pool2d(error, BLOCK).abs().max()
    row = {"photo": name, "how": how, "psnr": f"{psnr(whole, made).item():.2f}"}
    return row | {"largest_error": f"{error.abs().max():.3g}", "largest_tone_shift": f"{tone:.3g}"}


def main(model: str = "vae_f8_z4") -> None:
    """Write the table and the picture."""
    vae = vaezoo.create(model, pretrained=True)
    tiled, strips = in_diffusers(vae), vaezoo.optimize(vae, "fp32", tile=TILE)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "tiles of diffusers": lambda z: tiled.decode(z).sample,
        "strips": strips.decode,
    }
    rows, shown = [], []
    with torch.inference_mode():
        for path in sample_photos():
            z = vae.encode(vaezoo.load_image(path)).mode()
            whole = vae.decode(z)
            cells = [captioned(whole.clamp(-1, 1), "decoded as a whole")]
            for how, decode in ways.items():
                made = decode(z)
                row = figures(path.stem, how, whole, made)
                rows.append({"model": str(vae.source), "tile": TILE, "size": whole.shape[-1], **row})
                text = f"difference x{GAIN}, {row['psnr']} dB, tone off by {row['largest_tone_shift']} levels"
                cells += [captioned(made.clamp(-1, 1), how), captioned(difference(whole, made, GAIN), text)]
            shown.append(cells)
    write_rows(DOCS / "results" / "tiles.csv", rows)
    save_picture(to_pil(tile(shown)), DOCS / "images" / "tiles.jpg")


if __name__ == "__main__":
    main(*sys.argv[1:])
