"""Whether latents rotate and shrink together with their image.

Source: Kouzelis et al. 2025, "EQ-VAE" (arXiv:2502.09509), which trains for this property; here it is measured for one
rotation and one scale.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.inference.reconstruct import check_finite
from vaezoo.nn.vae import VAE


class Equivariance(NamedTuple):
    """Equivariance of each image under a transformation T; E is the encoder.

    Args:
        error: |E(T(image)) - T(E(image))| / |T(E(image))|, of shape (B,); 0 for equivariant latents.
        psnr: PSNR in dB of the decoded T(E(image)) against T(image), of shape (B,).
    """

    error: Tensor
    psnr: Tensor


def rotated(x: Tensor) -> Tensor:
    """Rotate (B, C, H, W) by 90 degrees counterclockwise, to (B, C, W, H)."""
    return x.rot90(1, dims=(2, 3))


def halved(x: Tensor) -> Tensor:
    """Resize (B, C, H, W) to half its height and width, by antialiased bilinear interpolation."""
    return F.interpolate(x.float(), scale_factor=0.5, mode="bilinear", antialias=True).to(x.dtype)


def equivariance(
    vae: VAE, images: Tensor, z: Tensor, transform: Callable[[Tensor], Tensor], name: str = "an image"
) -> Equivariance:
    """Measure how well a model commutes with a transformation of its images, using the mode of the posterior.

    Args:
        vae: Model in eval mode.
        images: Tensor of shape (B, 3, H, W) with values in [-1, 1]; after the transformation H and W must be multiples
            of `vae.size_multiple`.
        z: Raw latents of the images, as the model encodes them.
        transform: `rotated` or `halved`; it is applied to images and latents alike.
        name: What the images are, for the error.

    Returns:
        Error and PSNR of each image.

    Raises:
        InputError: If the model computes NaN or infinite values.
    """
    target, where = transform(images), f"{name}, {transform.__name__}"
    expected = transform(z)
    latents = check_finite(vae, vae.encode(target.to(z.device, z.dtype)).mode(), where)
    found, aim = (x.cpu().double().flatten(1) for x in (latents, expected))
    error = (found - aim).norm(dim=1) / aim.norm(dim=1)
    decoded = check_finite(vae, vae.decode(expected), where)
    return Equivariance(error, psnr(target, decoded.to(target.device, torch.float32)))
