"""One protocol for reconstruction: how photos become images, and what is measured on them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaezoo.errors import FileError, InputError
from vaezoo.evaluation.metrics import psnr
from vaezoo.images import SUFFIXES, read_picture, resize_and_crop, to_tensor
from vaezoo.nn.vae import VAE

PROTOCOL = "reconstruction-1"  # shorter side to `size` with Lanczos, centre crop, posterior mode, clamp to [-1, 1]


@dataclass(frozen=True)
class Evaluation:
    """What `PROTOCOL` measured.

    PSNR in dB of each image; mean and standard deviation of the raw latents per channel; the mean standard deviation
    of the posterior, in the same units.
    """

    size: int
    names: tuple[str, ...]
    psnr: tuple[float, ...]
    latent_mean: tuple[float, ...]
    latent_std: tuple[float, ...]
    posterior_std: float

    @property
    def mean_psnr(self) -> float:
        """Mean over images, in dB."""
        return sum(self.psnr) / len(self.psnr)


class RunningStats:
    """Mean and standard deviation per channel of a stream of (B, C, H, W) tensors, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        """Take in one batch."""
        x = x.cpu().double()
        self.count += x.numel() // x.shape[1]
        self.sums = self.sums + x.sum(dim=(0, 2, 3))
        self.squares = self.squares + x.square().sum(dim=(0, 2, 3))

    def mean(self) -> Tensor:
        """Of shape (C,)."""
        return self.sums / self.count

    def std(self) -> Tensor:
        """Of shape (C,)."""
        return (self.squares / self.count - self.mean().square()).clamp(min=0).sqrt()


def photos(folder: str | Path) -> list[Path]:
    """The photos of a folder and its subfolders, by name.

    Raises:
        FileError: If it is no folder, or holds none.
    """
    folder = Path(folder)
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not found:
        raise FileError(f"{folder}: no folder with photos ({', '.join(SUFFIXES)}) in it")
    return found


def evaluate(
    vae: VAE, paths: Sequence[Path], size: int = 256, track: Callable[[Sequence[Path]], Iterable[Path]] = iter
) -> Evaluation:
    """Reconstruct photos by `PROTOCOL`, one at a time.

    Args:
        vae: The model, in eval mode.
        paths: Photo files.
        size: Pixels per side.
        track: Goes through the paths, and may show how far it is.

    Raises:
        InputError: If there are no paths, or `size` is no multiple of the model's `size_multiple`.
        ImageError: If a file is no picture.
    """
    if not paths:
        raise InputError("evaluate: no photos")
    values, latents, stds = [], RunningStats(), RunningStats()
    with torch.inference_mode():
        for path in track(paths):
            images = to_tensor(resize_and_crop(read_picture(path), size))
            posterior = vae.encode(images.to(vae.device, vae.dtype))
            values += psnr(images, vae.decode(posterior.mode()).cpu()).tolist()
            latents.add(posterior.mode())
            stds.add(posterior.std)
    mean, std = (tuple(t.tolist()) for t in (latents.mean(), latents.std()))
    return Evaluation(size, tuple(p.name for p in paths), tuple(values), mean, std, stds.mean().mean().item())
