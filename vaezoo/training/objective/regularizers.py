"""Regularizers of latents. `REGULARIZERS` maps the kinds of a recipe to modules, whose keyword arguments are its keys.

Every regularizer is built with the number of latent channels. `regularizer(vae, out, images, generator)` returns a
scalar, float32. `out` is the output of the VAE for `images` of shape (B, C, H, W) in [-1, 1]. Further
passes through the VAE use the autocast settings of the caller. Random numbers come from `generator`, which has the same
state in all processes, so that all of them use the same transformation in a step.

If `adaptive` is true, the weight is multiplied by the ratio of the gradients of the reconstruction losses and of the
regularizer at the last layer of the encoder (`adversary.balance`), at most `limit`.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.evaluation.latents.spectrum import dct
from vaezoo.evaluation.nets.frozen import Features
from vaezoo.nn.vae import VAE, Output
from vaezoo.specs.marks import Between
from vaezoo.training.objective.equivariance_regularizers import (
    EquivarianceRegularizer,
    Fraction,
    ScaleEquivarianceRegularizer,
    Weight,
    resized,
)

EPS = 1e-8  # keeps the logarithms of empty frequency bands finite


class AlignmentRegularizer(nn.Module):
    """Alignment of latents with the features of a frozen vision model, per position and between positions.

    cosine_weight * mean max(0, 1 - cosine_margin - cos(p, f))
    + distance_weight * mean max(0, |P - F| - distance_margin)

    p is the latent of a position after a learned linear projection, f the feature there. P and F contain the cosine
    similarities between all positions of an image.

    Args:
        latent_channels: Input channels of the projection.
        model: Name of a timm model; images are normalized with its own mean and standard deviation.
        layer: Index of its feature map, which is resized to the latents; -1 is the last.
        size: Pixels per side to which images are resized; `None` means the size that the model was trained on.
        cosine_margin: Margin of the first term, from 0 to 1.
        distance_margin: Margin of the second term, from 0 to 1.
        cosine_weight: Weight of the first term.
        distance_weight: Weight of the second term.
        adaptive: Whether to multiply the weight by a ratio of gradients.
        limit: Largest ratio.
        pretrained: Whether to load the pretrained weights; random ones are not saved in checkpoints.

    Raises:
        UnknownNameError: If timm has no model of this name.
        InputError: If the model has no such feature map.
        HubError: If its weights cannot be downloaded.

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
        cosine_margin: Fraction = 0.5,
        distance_margin: Fraction = 0.25,
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
            (features,) = self.features(images)
            height, width = out.latents.shape[2:]
            features = resized(features, (height, width))
        return self.distance(self.project(out.latents).float(), features)

    def distance(self, projected: Tensor, features: Tensor) -> Tensor:
        """Compute the loss of two maps of the same shape (B, C, h, w)."""
        p, f = (F.normalize(x.flatten(2), dim=1) for x in (projected, features))  # (B, C, h * w), columns of length 1
        with torch.autocast(p.device.type, enabled=False):
            angles = (p.mT @ p - f.mT @ f).abs()
        cosine = F.relu(1 - self.cosine_margin - (p * f).sum(dim=1)).mean()
        return self.cosine_weight * cosine + self.distance_weight * F.relu(angles - self.distance_margin).mean()


class SpectrumRegularizer(nn.Module):
    """KL divergence, in nats, between the distributions of image and latent power over radial frequency bands.

    The image is resized to the latents. The power of a band is the squared DCT, without the zero frequency, averaged
    over channels and the coefficients of the band. That of the image is multiplied by k ** delta in band k = 1, 2, ...
    The distributions are those of log(1 + power).

    Args:
        latent_channels: Latent channels; not used.
        bands: Number of bands of equal width, from 2 to 256.
        delta: Exponent that flattens the target, from -4 to 4; 0 keeps the spectrum of the image.

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
            height, width = z.shape[2:]
            tilt = torch.arange(1, self.bands + 1, device=z.device) ** self.delta
            target = _distribution(self.power(resized(images, (height, width))) * tilt)
            actual = _distribution(self.power(z))
            return (target * ((target + EPS) / (actual + EPS)).log()).sum(dim=1).mean()

    def power(self, x: Tensor) -> Tensor:
        """Compute the mean power (B, bands) of (B, C, h, w) in each band; 0 in a band without a frequency."""
        height, width = x.shape[2:]
        radius = torch.hypot(torch.arange(height).view(-1, 1).float(), torch.arange(width).float())
        band = (radius / radius.max().clamp(min=1) * self.bands).long().clamp(max=self.bands - 1)
        members = F.one_hot(band.flatten(), self.bands).to(x)
        power = dct(x).square().mean(dim=1).flatten(1)
        power = power * (torch.arange(power.shape[1], device=x.device) > 0)  # without the zero frequency
        return power @ members / members.sum(dim=0).clamp(min=1)


REGULARIZERS: dict[str, type[nn.Module]] = {
    "equivariance": EquivarianceRegularizer,
    "scale_equivariance": ScaleEquivarianceRegularizer,
    "alignment": AlignmentRegularizer,
    "spectrum": SpectrumRegularizer,
}


def _distribution(power: Tensor) -> Tensor:
    power = power.log1p()
    return power / (power.sum(dim=1, keepdim=True) + EPS)
