"""Artifacts on images of a single color, which a perfect model reconstructs without any texture."""

import itertools

import torch
from torch import Tensor

from vaezoo.inference.reconstruct import check_finite
from vaezoo.nn.vae import VAE

COLORS = [*itertools.product((-1.0, 1.0), repeat=3), (0.0, 0.0, 0.0)]  # the corners of the RGB cube, and mid gray


def flat_probe(vae: VAE, size: int) -> tuple[float, float]:
    """Reconstruct images of a single color, using the mode of the posterior.

    The colors are the corners of the RGB cube and mid gray.

    Args:
        vae: Model of RGB images, in eval mode.
        size: Pixels per side, a multiple of `vae.size_multiple`.

    Returns:
        The largest absolute error in 8-bit levels (0 to 255) over all colors, and the mean over colors of
        `off_mean_share` of the error.

    Raises:
        InputError: If the model computes NaN or infinite values.
    """
    errors = []
    with torch.inference_mode():
        for color in COLORS:
            images = torch.tensor(color).view(1, 3, 1, 1).expand(-1, -1, size, size)
            z = vae.encode(images.to(vae.device, vae.dtype)).mode()
            decoded = check_finite(vae, vae.decode(z), f"an image of the color {color}")
            errors.append(decoded.cpu().double().clamp(-1, 1) - images)
    error = torch.cat(errors)
    return error.abs().max().item() * 127.5, off_mean_share(error).mean().item()


def off_mean_share(error: Tensor) -> Tensor:
    """Compute the share of an error's energy that is not a constant offset: texture and borders.

    It is the energy of the Fourier spectrum outside frequency zero, which by Parseval's theorem needs no transform.

    Args:
        error: Tensor of shape (B, C, H, W).

    Returns:
        The share, in [0, 1] and of shape (B,); 0 where there is no error.
    """
    energy = error.double().square().mean(dim=(2, 3)).sum(dim=1)
    shift = error.double().mean(dim=(2, 3)).square().sum(dim=1)
    return torch.where(energy > 0, 1 - shift / energy.clamp(min=1e-300), 0.0).clamp(0, 1)
