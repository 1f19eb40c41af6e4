"""Weights of other trainers in the convention of `losses.py`: a mean over image elements and batch.

Only ratios between the terms of a loss matter to Adam, so a published loss is divided by whatever makes its
reconstruction error a mean, and every other weight follows. docs/recipes.md lists what came of it.
"""

from typing import Literal

Reduction = Literal["sum", "mean"]


def kl_weight(weight: float, *, error: Reduction, kl: Reduction, elements: int, latents: int) -> float:
    """The weight of `kl` that does what `weight` did.

    Args:
        weight: As published.
        error: How the reconstruction error was reduced over one image: LDM sums, TiTok and REPA-E average.
        kl: How the divergence was, over one latent; nearly everybody sums.
        elements: Of an image, channels times height times width: 196,608 at 256x256.
        latents: Elements of its latent.
    """
    summed = weight if kl == "sum" else weight / latents  # of the divergence summed over the latent
    return summed if error == "sum" else summed * elements


def ratio_limit(limit: float, *, error: Reduction, elements: int) -> float:
    """The largest ratio of gradients that does what `limit` did: a mean has a smaller gradient than a sum."""
    return limit / elements if error == "sum" else limit


def error_weight(weight: float, *, power: int, span: float) -> float:
    """The weight of a mean error of images in [-1, 1] that does what `weight` did for images of another range.

    Args:
        weight: As published.
        power: 1 of L1, 2 of MSE.
        span: White minus black: 1 where images were in [0, 1].
    """
    return weight * (span / 2) ** power
