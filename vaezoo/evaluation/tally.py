"""Accumulates the figures of one process over its share of the images, and merges those of several processes."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.data.photo_inputs import BadPhoto
from vaezoo.evaluation.latents.channels import ChannelStats, PosteriorStats
from vaezoo.evaluation.latents.spectrum import Spectrum
from vaezoo.evaluation.metrics.color import lab_error
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.evaluation.metrics.ssim import SMALLEST_MS_SSIM, WINDOW, ms_ssim, ssim
from vaezoo.evaluation.nets.frechet import Moments
from vaezoo.nn.distributions import Posterior

LATENTS = "latents"
CELLS = 4  # latents are averaged over this many cells per side before their nearest neighbors are searched


@dataclass(frozen=True)
class Nets:
    """Networks that evaluate reconstructions, by name.

    Args:
        distances: Functions of images and reconstructions (B, 3, H, W) in [-1, 1] that return distances (B,).
        features: Functions of images (B, 3, H, W) in [-1, 1] that return features (B, D).
    """

    distances: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)
    features: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)

    def without(self, names: Container[str]) -> "Nets":
        """Return the networks whose names are not in `names`."""
        return Nets(
            {name: net for name, net in self.distances.items() if name not in names},
            {name: net for name, net in self.features.items() if name not in names},
        )


@dataclass(frozen=True)
class Case:
    """One evaluated image.

    Args:
        index: Index of the image among all images; in `Evaluation.worst`, among those that were evaluated.
        psnr: PSNR of the reconstruction, in dB.
        images: The image, of shape (1, 3, H, W).
        reconstruction: The reconstruction, of the same shape.
        z: The decoded latents, of shape (1, C, h, w).
    """

    index: int
    psnr: float
    images: Tensor
    reconstruction: Tensor
    z: Tensor


class Tally:
    """Figures of each image, by its index, and statistics over all images.

    Args:
        features: Names of the networks whose features are compared.
        keep: Number of cases with the lowest PSNR to keep.
    """

    def __init__(self, features: Iterable[str] = (), keep: int = 0) -> None:
        self.keep, self.enlarged = keep, 0
        self.bad: list[BadPhoto] = []
        self.figures: dict[int, dict[str, float]] = {}
        self.channels, self.posterior, self.spectrum = ChannelStats(), PosteriorStats(), Spectrum()
        self.of_images = {name: Moments() for name in features}
        self.of_reconstructions = {name: Moments() for name in features}
        self.embeddings: dict[str, dict[int, Tensor]] = {name: {} for name in (LATENTS, *features)}
        self.worst: list[Case] = []

    def add(self, index: int, images: Tensor, reconstruction: Tensor, posterior: Posterior, z: Tensor) -> None:
        """Add one image.

        Args:
            index: Index of the image.
            images: The image, of shape (1, 3, H, W) with values in [-1, 1].
            reconstruction: The reconstruction, of the same shape and range.
            posterior: The posterior that the model encodes the image to.
            z: The latents that were decoded.
        """
        self.channels.add(posterior.mode())
        self.posterior.add(posterior)
        value = psnr(images, reconstruction).item()
        self.figures[index] = {"psnr": value}
        self._keep_worst([Case(index, value, images, reconstruction, z.cpu().float())])

    def add_more(self, index: int, images: Tensor, reconstruction: Tensor, latents: Tensor, nets: Nets) -> None:
        """Add the remaining figures of an image: similarity, color, networks, and the spectrum of its latents.

        Args:
            index: Index of an image that has been added.
            images: The image, of shape (1, 3, H, W) with values in [-1, 1].
            reconstruction: The reconstruction, of the same shape and range.
            latents: The mode of the posterior.
            nets: The networks; those of features are the ones named at construction.
        """
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
        """Add the tally of other images."""
        self.figures.update(other.figures)
        self.enlarged += other.enlarged
        self.bad = sorted([*self.bad, *other.bad])
        self.channels.merge(other.channels)
        self.posterior.merge(other.posterior)
        self.spectrum.merge(other.spectrum)
        for name in self.of_images:
            self.of_images[name].merge(other.of_images[name])
            self.of_reconstructions[name].merge(other.of_reconstructions[name])
        for name, rows in self.embeddings.items():
            rows.update(other.embeddings[name])
        self._keep_worst(other.worst)

    def embedding(self, name: str) -> Tensor:
        """Return one row per image, in the order of their indices.

        Args:
            name: `LATENTS`, or the name of a network of features.
        """
        return torch.stack([row for _, row in sorted(self.embeddings[name].items())])

    def _keep_worst(self, cases: list[Case]) -> None:
        self.worst = sorted([*self.worst, *cases], key=lambda case: (case.psnr, case.index))[: self.keep]
