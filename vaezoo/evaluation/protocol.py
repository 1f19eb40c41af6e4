"""Protocols of reconstruction: how photos become images, and what is measured on them."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.photos import Photo
from vaezoo.distributed import ProcessGroup
from vaezoo.errors import InputError
from vaezoo.evaluation.latents.equivariance import equivariance, halved, turned
from vaezoo.evaluation.latents.neighbors import knn_consistency
from vaezoo.evaluation.metrics.flat import flat_probe
from vaezoo.evaluation.nets.frechet import frechet_distance
from vaezoo.evaluation.tally import LATENTS, Case, Nets, Tally
from vaezoo.io.images import resize_and_crop, to_tensor
from vaezoo.nn.distributions import Posterior
from vaezoo.nn.vae import VAE

NEIGHBOURS = 10
Figure = float | int | tuple[float, ...] | None


@dataclass(frozen=True)
class Protocol:
    """What a row of results means: its conditions in words, and whether it measures all or PSNR and latents alone."""

    name: str
    crop: str
    clamp: str
    rounding: str
    measures_all: bool


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("reconstruction-1", "lanczos centre", "[-1, 1]", "none", measures_all=False),
        Protocol("reconstruction-2", "lanczos centre", "[-1, 1]", "8 bits, half up", measures_all=True),
    )
}
LATEST = PROTOCOLS["reconstruction-2"]


@dataclass(frozen=True)
class Evaluation:
    """What a protocol measured.

    `images` holds one value an image under each name, in the order of `names`; `figures` what is of all of them
    together; `frechet` and `knn` the Fréchet distance and the consistency of neighbours by the net that gave the
    features. `docs/evaluation.md` says what the names mean, and in which units. A figure that does not apply is None.
    `enlarged` counts photos smaller than `size`.
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

    @property
    def psnr(self) -> tuple[float, ...]:
        """In dB, of each image."""
        return self.images["psnr"]

    @property
    def mean_psnr(self) -> float:
        """Mean over images, in dB."""
        return self.mean("psnr")

    def mean(self, name: str) -> float | None:
        """Mean over images; None for what was not measured."""
        values = self.images.get(name)
        return None if values is None else sum(values) / len(values)

    def spread(self, name: str) -> float:
        """Standard deviation over images, divided by their number; NaN where a value is infinite."""
        values, mean = self.images[name], self.mean(name)
        return (
            math.sqrt(sum((value - mean) ** 2 for value in values) / len(values)) if math.isfinite(mean) else math.nan
        )


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
    track: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Evaluation:
    """Reconstruct photos by a protocol, one at a time.

    Args:
        vae: The model, in eval mode.
        photos: From `vaezoo.data.photos.photos`.
        size: Pixels per side.
        protocol: One of `PROTOCOLS`.
        sample: Decode a sample of the posterior, the same for every run and number of processes, instead of its mode.
        nets: What else judges the reconstructions, where the protocol measures all.
        processes: Who shares the photos; each gets the whole result. None is this process alone.
        keep: How many of the worst cases to keep for a picture.
        track: Goes through this process's photos, and may show how far it is.

    Raises:
        InputError: If there are no photos, or `size` is no multiple of the model's `size_multiple`.
        ImageError: If a file is no picture.
    """
    if not photos:
        raise InputError("evaluate: no photos")
    nets, processes = nets or Nets(), processes or ProcessGroup()
    tally = Tally(nets.features, keep)
    with torch.inference_mode():
        for index, photo in track(processes.share(photos)):
            picture = photo.read()
            tally.enlarged += min(picture.size) < size
            images = _rounded(to_tensor(resize_and_crop(picture, size)), protocol)
            posterior = vae.encode(images.to(vae.device, vae.dtype))
            z = _drawn(posterior, index) if sample else posterior.mode()
            reconstruction = _rounded(vae.decode(z).to("cpu", torch.float32).clamp(-1, 1), protocol)
            tally.add(index, images, reconstruction, posterior, z)
            if protocol.measures_all:
                tally.add_more(index, images, reconstruction, posterior.mode(), nets)
                tally.figures[index] |= _equivariance(vae, images, posterior.mode())
    first = _merged(processes.gather(tally))
    rows = [found for _, found in sorted(first.figures.items())]
    return Evaluation(
        protocol,
        size,
        sample,
        names=tuple(photo.name for photo in photos),
        images={name: tuple(row[name] for row in rows) for name in rows[0]},
        figures=_panel(first) | _flat(vae, size) if protocol.measures_all else _basics(first),
        frechet={name: _distance(first, name) for name in nets.features if protocol.measures_all},
        knn={name: _consistency(first, name) for name in nets.features if protocol.measures_all},
        worst=first.worst,
        enlarged=first.enlarged,
    )


def _merged(tallies: Sequence[Tally]) -> Tally:
    """Those of all processes as one."""
    first, *others = tallies
    for other in others:
        first.merge(other)
    return first


def _rounded(images: Tensor, protocol: Protocol) -> Tensor:
    """Images in [-1, 1] as the protocol compares them: as they are, or at the nearest of 256 levels."""
    return images if protocol.rounding == "none" else ((images + 1) * 127.5 + 0.5).floor() / 127.5 - 1


def _drawn(posterior: Posterior, index: int) -> Tensor:
    """A sample whose noise depends on the image's index alone, so that sharing the work changes nothing."""
    return posterior.sample(torch.Generator().manual_seed(index))


def _equivariance(vae: VAE, images: Tensor, z: Tensor) -> dict[str, float]:
    """Errors of a quarter turn, and of half the size where the model takes that."""
    changes = {"turn": turned}
    if images.shape[-1] % (2 * vae.size_multiple) == 0:
        changes["scale"] = halved
    found = {}
    for name, change in changes.items():
        result = equivariance(vae, images, z, change)
        found |= {f"{name}_error": result.error.item(), f"{name}_psnr": result.psnr.item()}
    return found


def _flat(vae: VAE, size: int) -> dict[str, Figure]:
    error, texture = flat_probe(vae, size)
    return {"flat_error": error, "flat_texture": texture}


def _basics(tally: Tally) -> dict[str, Figure]:
    """Mean and spread of the latents, and of the posterior."""
    return {
        "latent_mean": tuple(tally.channels.mean().tolist()),
        "latent_std": tuple(tally.channels.std().tolist()),
        "posterior_std": tally.posterior.std().mean().item(),
    }


def _panel(tally: Tally) -> dict[str, Figure]:
    """All that is known of the latents."""
    channels, posterior = tally.channels, tally.posterior
    correlation, kl = channels.correlation().abs(), posterior.kl()
    return {
        **_basics(tally),
        "latent_skew": tuple(channels.skew().tolist()),
        "latent_kurtosis": tuple(channels.kurtosis().tolist()),
        "latent_absmax": tuple(channels.absmax().tolist()),
        "latent_correlation": correlation.fill_diagonal_(0).max().item() if len(correlation) > 1 else None,
        "kl": None if kl is None else tuple(kl.tolist()),
        "active_units": channels.active_units(),
        "posterior_share": tuple((posterior.std() / channels.std()).tolist()),
        "spectrum_slope": tally.spectrum.slope(),
        "high_share": tally.spectrum.high_share(),
    }


def _distance(tally: Tally, name: str) -> float | None:
    ours, theirs = tally.of_images[name], tally.of_reconstructions[name]
    return frechet_distance(ours, theirs) if ours.count > 1 else None


def _consistency(tally: Tally, name: str) -> float | None:
    if tally.of_images[name].count <= NEIGHBOURS:
        return None
    return knn_consistency(tally.embedding(LATENTS), tally.embedding(name), NEIGHBOURS)
