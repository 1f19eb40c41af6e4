"""Evaluation protocols: how photos are preprocessed, and what is measured on their reconstructions."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.photo_inputs import BadPhoto, check_some_read, read_or_skip
from vaezoo.data.photos import Photo
from vaezoo.distributed import ProcessGroup
from vaezoo.errors import InputError
from vaezoo.evaluation.figures import Figure, basics, consistency, distance, panel
from vaezoo.evaluation.latents.equivariance import equivariance, halved, rotated
from vaezoo.evaluation.metrics.flat import flat_probe
from vaezoo.evaluation.tally import Case, Nets, Tally
from vaezoo.inference.reconstruct import check_finite
from vaezoo.io.images import to_tensor
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.nn.distributions import Posterior
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.out_of_memory import enough_memory


@dataclass(frozen=True)
class Protocol:
    """The conditions under which results are comparable.

    Args:
        name: Name of the protocol.
        crop: How photos are brought to the size of evaluation.
        clamp: Range that reconstructions are clamped to.
        rounding: How images and reconstructions are rounded before they are compared.
        measures_all: Whether all figures are measured, or only PSNR and the basic latent statistics.
    """

    name: str
    crop: str
    clamp: str
    rounding: str
    measures_all: bool


_ALL = (
    Protocol("reconstruction-1", "lanczos centre", "[-1, 1]", "none", measures_all=False),
    Protocol("reconstruction-2", "lanczos centre", "[-1, 1]", "8 bits, half up", measures_all=True),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}
LATEST = PROTOCOLS["reconstruction-2"]


@dataclass(frozen=True)
class Evaluation:
    """The figures of an evaluation; `docs/evaluation.md` explains their names and units.

    Args:
        protocol: The protocol.
        size: Pixels per side of the images.
        sample: Whether a sample of the posterior was decoded instead of its mode.
        names: Names of the photos that were evaluated.
        images: For each figure one value per image, in the order of `names`.
        figures: Figures of all images together; `None` for one that does not apply.
        frechet: Fréchet distance, by the name of the network that computed the features.
        knn: Consistency of nearest neighbors, by the name of the network that computed the features.
        worst: Cases with the lowest PSNR, worst first; `index` is that in `names`.
        enlarged: Number of photos smaller than `size`.
        bad: Photos that could not be read and were left out.
    """

    protocol: Protocol
    size: int
    sample: bool
    names: tuple[str, ...]
    images: dict[str, tuple[float, ...]]
    figures: dict[str, Figure]
    frechet: dict[str, float | None] = field(default_factory=dict)
    knn: dict[str, float | None] = field(default_factory=dict)
    worst: list[Case] = field(default_factory=list)
    enlarged: int = 0
    bad: tuple[BadPhoto, ...] = ()

    @property
    def psnr(self) -> tuple[float, ...]:
        """PSNR of each image, in dB."""
        return self.images["psnr"]

    @property
    def mean_psnr(self) -> float:
        """Mean PSNR over the images, in dB."""
        return _mean(self.psnr)

    def mean(self, name: str) -> float | None:
        """Return the mean of a figure over the images; `None` if it was not measured."""
        values = self.images.get(name)
        return None if values is None else _mean(values)

    def spread(self, name: str) -> float:
        """Return the population standard deviation of a figure over the images; NaN if a value is infinite."""
        values, mean = self.images[name], _mean(self.images[name])
        return math.sqrt(_mean([(value - mean) ** 2 for value in values])) if math.isfinite(mean) else math.nan


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def evaluate(
    vae: VAE,
    photos: Sequence[Photo],
    size: int = 256,
    protocol: Protocol = LATEST,
    *,
    sample: bool = False,
    nets: Nets | None = None,
    processes: ProcessGroup | None = None,
    keep: int = 0,
    skip_bad: bool = False,
    track: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Evaluation:
    """Reconstruct photos one at a time, and measure the figures of a protocol.

    Args:
        vae: Model in eval mode.
        photos: At least one photo, such as `vaezoo.data.photos.photos` lists them.
        size: Pixels per side to which the photos are resized and cropped, a multiple of `vae.size_multiple`.
        protocol: One of `PROTOCOLS`.
        sample: Whether to decode a sample of the posterior instead of its mode. The noise is the same in every run, for
            any number of processes.
        nets: Networks that evaluate the reconstructions, if the protocol measures all figures.
        processes: Processes that share the photos, each of which gets the whole result; `None` is this process only.
        keep: Number of cases with the lowest PSNR to keep in `Evaluation.worst`.
        skip_bad: Whether to leave out photos that cannot be read, which are then in `Evaluation.bad`.
        track: Function that iterates over this process's photos, for example to show progress.

    Returns:
        The figures.

    Raises:
        InputError: If there are no photos, `size` is not a multiple of `vae.size_multiple`, or NaN was decoded.
        ImageError: If a file is not an image, unless `skip_bad` is set.
        OutOfMemoryError: If there is not enough memory.

    Examples:
        >>> import vaezoo
        >>> from vaezoo.data.photos import photos
        >>> from vaezoo.evaluation.protocol import evaluate
        >>> vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
        >>> result = evaluate(vae, photos(None), size=64)
        >>> len(result.psnr), result.mean_psnr > 20
        (4, True)
    """
    if not photos:
        raise InputError("evaluate: no photos; pass at least one")
    vae, nets, processes = unwrapped(vae), nets or Nets(), processes or ProcessGroup()
    tally = Tally(nets.features, keep)
    with torch.inference_mode():
        for index, photo in track(processes.share(photos)):
            if (picture := read_or_skip(photo, tally.bad if skip_bad else None)) is None:
                continue
            tally.enlarged += min(picture.size) < size
            with enough_memory(partial(_at_size, photo, size), "evaluate at a smaller size (--size)"):
                images = _rounded(to_tensor(resize_and_crop(picture, size)), protocol)
                posterior = vae.encode(images.to(vae.device, vae.dtype))
                z = _sample(posterior, index) if sample else posterior.mode()
                decoded = check_finite(vae, vae.decode(z).to("cpu", torch.float32), photo.name)
                reconstruction = _rounded(decoded.clamp(-1, 1), protocol)
                tally.add(index, images, reconstruction, posterior, z)
                if protocol.measures_all:
                    tally.add_more(index, images, reconstruction, posterior.mode(), nets)
                    tally.figures[index] |= _equivariance(vae, images, posterior.mode(), photo.name)
    first, *others = processes.gather(tally)
    for other in others:
        first.merge(other)
    check_some_read(first.bad, len(photos))
    rows = [found for _, found in sorted(first.figures.items())]
    places = {index: place for place, index in enumerate(sorted(first.figures))}  # without bad photos
    return Evaluation(
        protocol,
        size,
        sample,
        names=tuple(photos[index].name for index in places),
        images={name: tuple(row[name] for row in rows) for name in rows[0]},
        figures=panel(first) | _flat(vae, size) if protocol.measures_all else basics(first),
        frechet={name: distance(first, name) for name in nets.features if protocol.measures_all},
        knn={name: consistency(first, name) for name in nets.features if protocol.measures_all},
        worst=[replace(case, index=places[case.index]) for case in first.worst],
        enlarged=first.enlarged,
        bad=tuple(first.bad),
    )


def _at_size(photo: Photo, size: int) -> str:
    return f"{photo.name} at {size} x {size} pixels"


def _rounded(images: Tensor, protocol: Protocol) -> Tensor:
    """Round images in [-1, 1] as the protocol asks: not at all, or to the nearest of 256 levels."""
    return images if protocol.rounding == "none" else ((images + 1) * 127.5 + 0.5).floor() / 127.5 - 1


def _sample(posterior: Posterior, index: int) -> Tensor:
    """Draw a sample whose noise depends on the index of the image only, whichever process draws it."""
    return posterior.sample(torch.Generator().manual_seed(index))


def _equivariance(vae: VAE, images: Tensor, z: Tensor, photo: str) -> dict[str, float]:
    """Measure equivariance under a quarter turn, and under half the size if the model supports it."""
    transforms = {"turn": rotated}
    if images.shape[-1] % (2 * vae.size_multiple) == 0:
        transforms["scale"] = halved
    found: dict[str, float] = {}
    for name, transform in transforms.items():
        result = equivariance(vae, images, z, transform, photo)
        found |= {f"{name}_error": result.error.item(), f"{name}_psnr": result.psnr.item()}
    return found


def _flat(vae: VAE, size: int) -> dict[str, Figure]:
    error, texture = flat_probe(vae, size)
    return {"flat_error": error, "flat_texture": texture}
