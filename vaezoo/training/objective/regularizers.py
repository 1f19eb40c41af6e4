"""Regularisers of latents. `REGULARIZERS` maps a recipe's name to a module; its keyword-only arguments are the keys.

Every regulariser is built with the number of latent channels, as a block is with its input channels. It is
`forward(vae, out, images, generator) -> scalar`, float32: `out` is what the VAE's forward returned for `images` of
shape (B, C, H, W) in [-1, 1]. One that needs another pass through the VAE makes it in the autocast that it finds. What
is random is drawn from `generator`, once: one in the same state on all ranks gives one draw for the whole step.

Where `adaptive` is true, the weight is multiplied by the ratio of gradients, reconstruction losses to this one, at the
encoder's last layer (`adversary.balance`), at most `limit`.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.evaluation.latents.spectrum import dct
from vaezoo.evaluation.nets.frozen import Features
from vaezoo.nn.vae import VAE, Output
from vaezoo.specs.marks import Between
from vaezoo.training.objective.equivariance_regularizers import Equivariance, ScaleEquivariance, Share, Weight, resized

EPS = 1e-8  # keeps shares and logarithms of empty bands finite


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
        adaptive: Whether the weight follows the ratio of gradients.
        limit: Largest ratio.
        pretrained: Whether the model has its pretrained weights, or random ones, which no checkpoint keeps.

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
        adaptive: bool = False,
        limit: Annotated[float, Between(0.0, 1e9)] = 1e4,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        self.features = Features(model, [layer], size, pretrained)
        self.project = nn.Conv2d(latent_channels, self.features.channels[0], 1, bias=False)
        self.cosine_margin, self.distance_margin = cosine_margin, distance_margin
        self.cosine_weight, self.distance_weight = cosine_weight, distance_weight
        self.adaptive, self.limit = adaptive, limit

    def forward(self, vae: VAE, out: Output, images: Tensor, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            (seen,) = self.features(images)
            seen = resized(seen, tuple(out.latents.shape[2:]))
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

    adaptive = False

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
            target, found = self.power(resized(images, tuple(z.shape[2:]))), self.power(z)
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


def _shares(power: Tensor) -> Tensor:
    power = power.log1p()
    return power / (power.sum(dim=1, keepdim=True) + EPS)
