"""Do latents turn and shrink with their image?

Source: Kouzelis et al. 2025, "EQ-VAE" (arXiv:2502.09509), which trains for it; here it is measured, for
one turn and one scale.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.nn.vae import VAE


class Equivariance(NamedTuple):
    """Of each image, both of shape (B,).

    `error` is |E(turned image) - turned E(image)| / |turned E(image)|, 0 for latents that turn with their image; `psnr`
    that of decoded turned latents against the turned image, in dB.
    """

    error: Tensor
    psnr: Tensor


def turned(x: Tensor) -> Tensor:
    """(B, C, H, W) a quarter turn counterclockwise, (B, C, W, H)."""
    return x.rot90(1, dims=(2, 3))


def halved(x: Tensor) -> Tensor:
    """(B, C, H, W) at half the height and width, bilinear and antialiased."""
    return F.interpolate(x.float(), scale_factor=0.5, mode="bilinear", antialias=True).to(x.dtype)


def equivariance(vae: VAE, images: Tensor, z: Tensor, change: Callable[[Tensor], Tensor]) -> Equivariance:
    """How well a model keeps to a change of its images, by the posterior's mode.

    Args:
        vae: The model, in eval mode.
        images: Of shape (B, 3, H, W), values in [-1, 1]; changed, H and W must be multiples of `vae.size_multiple`.
        z: Their raw latents, as the model encodes them.
        change: `turned` or `halved`, for images and latents alike.
    """
    target = change(images)
    expected = change(z)
    found, aim = (x.cpu().double().flatten(1) for x in (vae.encode(target.to(z.device, z.dtype)).mode(), expected))
    error = (found - aim).norm(dim=1) / aim.norm(dim=1)
    return Equivariance(error, psnr(target, vae.decode(expected).to(target.device, torch.float32)))
