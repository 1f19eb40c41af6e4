"""Regularisers that ask latents to change as their image does; `regularizers.py` says what all have in common."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.evaluation.nets.lpips import LPIPS, SMALLEST
from vaezoo.nn.vae import VAE, Output
from vaezoo.specs.marks import Between
from vaezoo.training.objective.losses import Net

Share = Annotated[float, Between(0.0, 1.0)]
Weight = Annotated[float, Between(0.0, 1e6)]


class Equivariance(nn.Module):
    """Decoded latents that were shrunk and turned must be the image, shrunk and turned: L1, and LPIPS if asked for.

    A step draws one scale, uniformly from `smallest` to 1, and a quarter turn, half turn or three-quarter turn.

    Args:
        latent_channels: Not used.
        share: Of the steps that do so; the others cost nothing and give 0.
        smallest: Smallest scale.
        turn: Whether to turn, too.
        perceptual: Weight of LPIPS.
        net: Its backbone.

    Source: Kouzelis et al. 2025 (arXiv:2502.09509), zelaki/eqvae@c34589c `train_eqvae/ldm/models/autoencoder.py`, lines
    96 to 138, where it takes the place of the plain reconstruction and is drawn anew for each optimiser and rank.
    """

    adaptive = False

    def __init__(
        self,
        latent_channels: int,
        *,
        share: Share = 0.5,
        smallest: Annotated[float, Between(0.01, 1.0)] = 0.25,
        turn: bool = True,
        perceptual: Weight = 0.0,
        net: Net = "vgg",
    ) -> None:
        super().__init__()
        self.share, self.smallest, self.turn = share, smallest, turn
        self.error = ChangedError(perceptual, net)

    def forward(self, vae: VAE, out: Output, images: Tensor, generator: torch.Generator) -> Tensor:
        applies, scale = torch.rand(2, generator=generator, device=generator.device).tolist()
        turns = int(torch.randint(1, 4, (), generator=generator, device=generator.device)) if self.turn else 0
        if applies >= self.share:
            return images.new_zeros((), dtype=torch.float32)
        return self.error(vae, out, images, self.smallest + (1 - self.smallest) * scale, turns)


class ScaleEquivariance(nn.Module):
    """Decoded latents that were shrunk must be the image, shrunk: L1, and LPIPS if asked for.

    Args:
        latent_channels: Not used.
        factors: A step draws one of these and divides height and width by it.
        perceptual: Weight of LPIPS.
        net: Its backbone.

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
        self.error = ChangedError(perceptual, net)

    def forward(self, vae: VAE, out: Output, images: Tensor, generator: torch.Generator) -> Tensor:
        index = int(torch.randint(len(self.factors), (), generator=generator, device=generator.device))
        return self.error(vae, out, images, 1 / self.factors[index], 0)


class ChangedError(nn.Module):
    """How far decoded changed latents are from the changed image: L1, and LPIPS where its weight is not 0.

    Both are shrunk bilinearly with antialiasing, to whole latent pixels, and then turned.
    """

    def __init__(self, perceptual: float, net: str) -> None:
        super().__init__()
        self.weight = perceptual
        self.perceptual = LPIPS(net) if perceptual else None

    def forward(self, vae: VAE, out: Output, images: Tensor, scale: float, turns: int) -> Tensor:
        least = -(-SMALLEST // vae.downscale) if self.perceptual else 1  # LPIPS needs some pixels
        size = tuple(max(least, round(side * scale)) for side in out.latents.shape[2:])
        z = resized(out.latents, size).rot90(turns, dims=(2, 3))
        target = resized(images, tuple(side * vae.downscale for side in size)).rot90(turns, dims=(2, 3))
        found = vae.decode(z).float()
        error = (found - target).abs().mean()
        return error if self.perceptual is None else error + self.weight * self.perceptual(target, found).mean()


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, *size), float32, bilinear with antialiasing."""
    return F.interpolate(x.float(), size=size, mode="bilinear", antialias=True)
