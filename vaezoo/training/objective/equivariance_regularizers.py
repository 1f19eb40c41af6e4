"""Regularizers for latents that transform like their images; see `regularizers.py` for what all have in common."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.evaluation.nets.lpips import LPIPS, SMALLEST
from vaezoo.nn.vae import VAE, Output
from vaezoo.specs.marks import Between
from vaezoo.training.objective.losses import Net

Fraction = Annotated[float, Between(0.0, 1.0)]
Weight = Annotated[float, Between(0.0, 1e6)]


class EquivarianceRegularizer(nn.Module):
    """L1 between the decoded, downscaled and rotated latents and the equally transformed image; plus LPIPS if weighted.

    Each step draws one scale, uniform in [smallest, 1], and one rotation by 90, 180 or 270 degrees.

    Args:
        latent_channels: Latent channels; not used.
        share: Fraction of the steps to which this applies; it is 0 and costs nothing in the others.
        smallest: Smallest scale.
        turn: Whether to rotate.
        perceptual: Weight of LPIPS; 0 disables it.
        net: Backbone of LPIPS, "vgg" or "alex".

    Source: Kouzelis et al. 2025 (arXiv:2502.09509), zelaki/eqvae@c34589c `train_eqvae/ldm/models/autoencoder.py`, lines
    96 to 138, where it replaces the plain reconstruction and is drawn separately for each optimizer and process.
    """

    adaptive = False

    def __init__(
        self,
        latent_channels: int,
        *,
        share: Fraction = 0.5,
        smallest: Annotated[float, Between(0.01, 1.0)] = 0.25,
        turn: bool = True,
        perceptual: Weight = 0.0,
        net: Net = "vgg",
    ) -> None:
        super().__init__()
        self.share, self.smallest, self.turn = share, smallest, turn
        self.error = TransformedError(perceptual, net)

    def forward(self, vae: VAE, out: Output, images: Tensor, generator: torch.Generator) -> Tensor:
        applies, scale = torch.rand(2, generator=generator, device=generator.device).tolist()
        turns = int(torch.randint(1, 4, (), generator=generator, device=generator.device)) if self.turn else 0
        if applies >= self.share:
            return images.new_zeros((), dtype=torch.float32)
        return self.error(vae, out, images, self.smallest + (1 - self.smallest) * scale, turns)


class ScaleEquivarianceRegularizer(nn.Module):
    """L1 between the decoded, downscaled latents and the downscaled image; plus LPIPS if weighted.

    Args:
        latent_channels: Latent channels; not used.
        factors: Downscaling factors, at least one; each step draws one of them.
        perceptual: Weight of LPIPS; 0 disables it.
        net: Backbone of LPIPS, "vgg" or "alex".

    Source: Skorokhodov et al. 2025 (arXiv:2502.14831), section 4.
    """

    adaptive = False

    def __init__(
        self,
        latent_channels: int,
        *,
        factors: tuple[Annotated[int, Between(2, 64)], ...] = (2, 4),
        perceptual: Weight = 0.0,
        net: Net = "vgg",
    ) -> None:
        super().__init__()
        if not factors:
            raise ValueError("factors is empty; at least one is needed")
        self.factors = factors
        self.error = TransformedError(perceptual, net)

    def forward(self, vae: VAE, out: Output, images: Tensor, generator: torch.Generator) -> Tensor:
        index = int(torch.randint(len(self.factors), (), generator=generator, device=generator.device))
        return self.error(vae, out, images, 1 / self.factors[index], 0)


class TransformedError(nn.Module):
    """L1, and LPIPS if its weight is not 0, between decoded transformed latents and the transformed image.

    Both are resized bilinearly with antialiasing, to whole latent pixels, and then rotated by quarter turns.
    """

    def __init__(self, perceptual: float, net: str) -> None:
        super().__init__()
        self.weight = perceptual
        self.perceptual = LPIPS(net) if perceptual else None

    def forward(self, vae: VAE, out: Output, images: Tensor, scale: float, turns: int) -> Tensor:
        least = -(-SMALLEST // vae.downscale) if self.perceptual else 1  # smallest size for LPIPS
        height, width = (max(least, round(side * scale)) for side in out.latents.shape[2:])
        z = resized(out.latents, (height, width)).rot90(turns, dims=(2, 3))
        target = resized(images, (height * vae.downscale, width * vae.downscale)).rot90(turns, dims=(2, 3))
        decoded = vae.decode(z).float()
        error = (decoded - target).abs().mean()
        return error if self.perceptual is None else error + self.weight * self.perceptual(target, decoded).mean()


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images or latents of shape (B, C, H, W) bilinearly with antialiasing; the result is float32."""
    return F.interpolate(x.float(), size=size, mode="bilinear", antialias=True)
