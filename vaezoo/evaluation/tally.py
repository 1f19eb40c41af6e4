"""What one process measures of its share of the images, and how the shares become one."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.evaluation.latents.channels import ChannelStats, PosteriorStats
from vaezoo.evaluation.latents.spectrum import Spectrum
from vaezoo.evaluation.metrics.color import lab_error
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.evaluation.metrics.ssim import SMALLEST_MS_SSIM, WINDOW, ms_ssim, ssim
from vaezoo.evaluation.nets.frechet import Moments
from vaezoo.nn.distributions import Posterior

LATENTS = "latents"
CELLS = 4  # latents are averaged over this many cells a side before neighbours are looked for


@dataclass(frozen=True)
class Nets:
    """Networks that judge reconstructions, by name.

    Args:
        distances: Each takes images and reconstructions (B, 3, H, W) in [-1, 1] and gives distances (B,).
        features: Each takes images (B, 3, H, W) in [-1, 1] and gives features (B, D).
    """

    distances: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)
    features: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)

    def without(self, names: Container[str]) -> "Nets":
        """All but those of these names."""
        distances, features = (
            {name: net for name, net in nets.items() if name not in names} for nets in (self.distances, self.features)
        )
        return Nets(distances, features)


class Case(NamedTuple):
    """One image, its reconstruction, both (1, 3, H, W), the latents that were decoded, (1, C, h, w), and its PSNR."""

    index: int
    psnr: float
    images: Tensor
    reconstruction: Tensor
    z: Tensor


class Tally:
    """Figures of each image, by its index, and streams over all of them.

    Args:
        features: Names of the nets whose features are compared.
        keep: How many of the worst cases, by PSNR, to keep for a picture.
    """

    def __init__(self, features: Iterable[str] = (), keep: int = 0) -> None:
        self.keep, self.enlarged = keep, 0
        self.figures: dict[int, dict[str, float]] = {}
        self.channels, self.posterior, self.spectrum = ChannelStats(), PosteriorStats(), Spectrum()
        self.of_images = {name: Moments() for name in features}
        self.of_reconstructions = {name: Moments() for name in features}
        self.embeddings: dict[str, dict[int, Tensor]] = {name: {} for name in (LATENTS, *features)}
        self.worst: list[Case] = []

    def add(self, index: int, images: Tensor, reconstruction: Tensor, posterior: Posterior, z: Tensor) -> None:
        """Take in one image (1, 3, H, W), its reconstruction, posterior and the latents `z` that were decoded."""
        self.channels.add(posterior.mode())
        self.posterior.add(posterior)
        value = psnr(images, reconstruction).item()
        self.figures[index] = {"psnr": value}
        self._keep([Case(index, value, images, reconstruction, z.cpu().float())])

    def add_more(self, index: int, images: Tensor, reconstruction: Tensor, latents: Tensor, nets: Nets) -> None:
        """Take in the rest about the same image: similarity, colour, what nets see, and the latents' spectrum."""
        found, side = self.figures[index], min(images.shape[2:])
        if side >= WINDOW:
            found["ssim"] = ssim(images, reconstruction).item()
        if side >= SMALLEST_MS_SSIM:
            found["ms_ssim"] = ms_ssim(images, reconstruction).item()
        found["luma_error"], found["chroma_error"] = (error.item() for error in lab_error(images, reconstruction))
        pair = images.to(latents.device), reconstruction.to(latents.device)
        for name, distance in nets.distances.items():
            found[name] = distance(*pair).item()
        self.spectrum.add(latents)
        self.embeddings[LATENTS][index] = F.adaptive_avg_pool2d(latents.float(), CELLS).flatten().cpu()
        for name, extract in nets.features.items():
            ours, theirs = (extract(x).float().cpu() for x in pair)
            self.of_images[name].add(ours)
            self.of_reconstructions[name].add(theirs)
            self.embeddings[name][index] = ours.flatten()

    def merge(self, other: "Tally") -> None:
        """Take in another share; no image may be in both."""
        self.figures.update(other.figures)
        self.enlarged += other.enlarged
        for ours, theirs in zip(self._streams(), other._streams(), strict=True):
            ours.merge(theirs)
        for name, rows in self.embeddings.items():
            rows.update(other.embeddings[name])
        self._keep(other.worst)

    def embedding(self, name: str) -> Tensor:
        """One row an image, in the order of their indices: of `LATENTS`, or of a net of features."""
        return torch.stack([row for _, row in sorted(self.embeddings[name].items())])

    def _streams(self) -> list[ChannelStats | PosteriorStats | Spectrum | Moments]:
        moments = [*self.of_images.values(), *self.of_reconstructions.values()]
        return [self.channels, self.posterior, self.spectrum, *moments]

    def _keep(self, cases: list[Case]) -> None:
        self.worst = sorted([*self.worst, *cases], key=lambda case: (case.psnr, case.index))[: self.keep]
