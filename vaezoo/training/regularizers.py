"""Regularisers of latents. `REGULARIZERS` maps a recipe's name to a module; its keyword-only arguments are the keys.

Every regulariser is built with the number of latent channels, as a block is with its input channels. It is
`forward(vae, out, images, generator) -> scalar`, float32: `out` is what the VAE's forward returned for `images` of
shape (B, C, H, W) in [-1, 1]. One that needs another pass through the VAE makes it in the autocast that it finds. What
is random is drawn from `generator`, once: one in the same state on all ranks gives one draw for the whole step.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.evaluation.frozen import Features
from vaezoo.evaluation.lpips import LPIPS, SMALLEST
from vaezoo.evaluation.spectrum import dct
from vaezoo.nn.vae import VAE, Output
from vaezoo.specs.check import Between
from vaezoo.training.losses import Net

Share = Annotated[float, Between(0.0, 1.0)]
Weight = Annotated[float, Between(0.0, 1e6)]
EPS = 1e-8  # keeps shares and logarithms of empty bands finite


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


class Alignment(nn.Module):
    """Latents must show what a vision model sees: each position's direction, and the angles between positions.

    cosine_weight * mean max(0, 1 - cosine_margin - cos(p, f))
    + distance_weight * mean max(0, |P - F| - distance_margin)

    p is the latent at a position, projected by a learned matrix, f the feature there; P and F hold the cosines between
    all positions of an image.

    Args:
        latent_channels: What the projection takes.
        model: timm's name of the vision model; it sees images with its own mean and standard deviation.
        layer: Which of its feature maps, counted from the first; brought to the latents' height and width.
        size: Pixels per side that it sees; null is the size it was trained on.
        cosine_margin: Part of 1 - cosine that is forgiven.
        distance_margin: Part of the difference of cosines that is forgiven.
        cosine_weight: Of the first term.
        distance_weight: Of the second.
        pretrained: Whether the model has its pretrained weights, or random ones.

    Raises:
        UnknownNameError: If timm has no model of this name.
        InputError: If it has no such layer.
        HubError: If its weights cannot be had.

    Source: Yao et al. 2025 (arXiv:2501.01423), hustvl/LightningDiT@2725fed
    `vavae/ldm/modules/losses/contperceptual.py`, lines 124 to 134.
    """

    def __init__(
        self,
        latent_channels: int,
        *,
        model: str,
        layer: int = -1,
        size: Annotated[int, Between(8, 4096)] | None = None,
        cosine_margin: Share = 0.5,
        distance_margin: Share = 0.25,
        cosine_weight: Weight = 1.0,
        distance_weight: Weight = 1.0,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        self.features = Features(model, [layer], size, pretrained)
        self.project = nn.Conv2d(latent_channels, self.features.channels[0], 1, bias=False)
        self.cosine_margin, self.distance_margin = cosine_margin, distance_margin
        self.cosine_weight, self.distance_weight = cosine_weight, distance_weight

    def forward(self, vae: VAE, out: Output, images: Tensor, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            (seen,) = self.features(images)
            seen = _resized(seen, tuple(out.latents.shape[2:]))
        return self.distance(self.project(out.latents).float(), seen)

    def distance(self, projected: Tensor, seen: Tensor) -> Tensor:
        """The loss of two maps of one shape (B, C, h, w)."""
        p, f = (F.normalize(x.flatten(2), dim=1) for x in (projected, seen))  # (B, C, h * w), columns of length 1
        with torch.autocast(p.device.type, enabled=False):
            angles = (p.mT @ p - f.mT @ f).abs()
        cosine = F.relu(1 - self.cosine_margin - (p * f).sum(dim=1)).mean()
        return self.cosine_weight * cosine + self.distance_weight * F.relu(angles - self.distance_margin).mean()


class Spectrum(nn.Module):
    """KL divergence between the shares of radial frequency bands in the image's power and in the latents', in nats.

    The image is brought to the latents' height and width. Power is the square of the DCT, averaged over channels and
    the coefficients of a band, without the mean's; of band k = 1, 2, … the image's is multiplied by k ** delta, and
    shares are those of log(1 + power).

    Args:
        latent_channels: Not used.
        bands: Number of bands from frequency 0 to the highest, of equal width.
        delta: Flattens the target: 0 is the image's own spectrum.

    Source: Spectrum Matching, forever208/SpectrumMatching@3d8680c `utils_DCT.py`, lines 226 to 278.
    """

    def __init__(
        self,
        latent_channels: int,
        *,
        bands: Annotated[int, Between(2, 256)] = 16,
        delta: Annotated[float, Between(-4.0, 4.0)] = 1.0,
    ) -> None:
        super().__init__()
        self.bands, self.delta = bands, delta

    def forward(self, vae: VAE, out: Output, images: Tensor, generator: torch.Generator) -> Tensor:
        z = out.latents.float()
        with torch.autocast(z.device.type, enabled=False):
            target, found = self.power(_resized(images, tuple(z.shape[2:]))), self.power(z)
            tilt = torch.arange(1, self.bands + 1, device=z.device) ** self.delta
            target, found = _shares(target * tilt), _shares(found)
            return (target * ((target + EPS) / (found + EPS)).log()).sum(dim=1).mean()

    def power(self, x: Tensor) -> Tensor:
        """Mean power of each band of (B, C, h, w), of shape (B, bands); 0 for a band without a frequency."""
        height, width = x.shape[2:]
        radius = torch.hypot(torch.arange(height).view(-1, 1).float(), torch.arange(width).float())
        band = (radius / radius.max().clamp(min=1) * self.bands).long().clamp(max=self.bands - 1)
        members = F.one_hot(band.flatten(), self.bands).to(x)
        power = dct(x).square().mean(dim=1).flatten(1)
        power = power * (torch.arange(power.shape[1], device=x.device) > 0)  # the first is the mean's
        return power @ members / members.sum(dim=0).clamp(min=1)


REGULARIZERS: dict[str, type[nn.Module]] = {
    "equivariance": Equivariance,
    "scale_equivariance": ScaleEquivariance,
    "alignment": Alignment,
    "spectrum": Spectrum,
}


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
        z = _resized(out.latents, size).rot90(turns, dims=(2, 3))
        target = _resized(images, tuple(side * vae.downscale for side in size)).rot90(turns, dims=(2, 3))
        found = vae.decode(z).float()
        error = (found - target).abs().mean()
        return error if self.perceptual is None else error + self.weight * self.perceptual(target, found).mean()


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, *size), float32, bilinear with antialiasing."""
    return F.interpolate(x.float(), size=size, mode="bilinear", antialias=True)


def _shares(power: Tensor) -> Tensor:
    power = power.log1p()
    return power / (power.sum(dim=1, keepdim=True) + EPS)
