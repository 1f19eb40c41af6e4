"""Artefacts on flat colour: where there is nothing to encode, whatever is not flat is the model's own."""

import itertools

import torch
from torch import Tensor

from vaezoo.nn.vae import VAE

COLORS = [*itertools.product((-1.0, 1.0), repeat=3), (0.0, 0.0, 0.0)]  # the corners of the RGB cube, and mid grey


def flat_probe(vae: VAE, size: int) -> tuple[float, float]:
    """Encode and decode images of one colour: the corners of the RGB cube and mid grey, by the posterior's mode.

    Args:
        vae: A model of RGB images, in eval mode.
        size: Pixels per side.

    Returns:
        The largest absolute error in 8-bit levels (0 to 255) over all colours, and the mean over colours of the
        error's `off_mean_share`.
    """
    errors = []
    with torch.inference_mode():
        for color in COLORS:
            images = torch.tensor(color).view(1, 3, 1, 1).expand(-1, -1, size, size)
            z = vae.encode(images.to(vae.device, vae.dtype)).mode()
            errors.append(vae.decode(z).cpu().double().clamp(-1, 1) - images)
    error = torch.cat(errors)
    return error.abs().max().item() * 127.5, off_mean_share(error).mean().item()


def off_mean_share(error: Tensor) -> Tensor:
    """Share of an error's energy that is not a shift of the whole image, in [0, 1], of shape (B,): texture, borders.

    That is the share of its Fourier spectrum off the zero frequency, which by Parseval needs no transform. 0 where
    there is no error.

    Args:
        error: Of shape (B, C, H, W).
    """
    energy = error.double().square().mean(dim=(2, 3)).sum(dim=1)
    shift = error.double().mean(dim=(2, 3)).square().sum(dim=1)
    return torch.where(energy > 0, 1 - shift / energy.clamp(min=1e-300), 0.0).clamp(0, 1)
