"""Whether a model can run in a lower precision: the magnitudes of its feature maps, and its error, on photos."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.photos import Photo
from vaezoo.errors import InputError
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.inference.executor import StripExecutor
from vaezoo.inference.optimize import optimize
from vaezoo.inference.reconstruct import check_finite
from vaezoo.io.images import to_tensor
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.nn.dtypes import DTYPES
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE

HEADROOM = 4  # other photos may have values that are larger than those of the probed ones by this factor
LOWEST_PSNR = 40.0  # dB between both precisions; then the error is about 2.5 of 255 levels


@dataclass(frozen=True)
class RowMagnitude:
    """The largest magnitude of a row in float32.

    Args:
        row: Name of the row, such as "decoder[3]".
        block: Its block.
        largest: Largest magnitude of its input, and of the results of the block and of the layers in it.
        layer: Where that is: "input", "output" or the name of the layer.
    """

    row: str
    block: str
    largest: float
    layer: str


@dataclass(frozen=True)
class PrecisionError:
    """How reconstructions differ from those in float32.

    Args:
        keep_fp32: Names of the rows that were in float32.
        finite: Whether all of them are finite; if not, the figures are `None`.
        largest_difference: Largest difference of two values, for images in [-1, 1].
        psnr: PSNR in dB of the image that differs most.
    """

    keep_fp32: tuple[str, ...]
    finite: bool
    largest_difference: float | None
    psnr: float | None

    @property
    def small(self) -> bool:
        """Whether the PSNR of every image is at least `LOWEST_PSNR`."""
        return self.psnr is not None and self.psnr >= LOWEST_PSNR


@dataclass(frozen=True)
class Probe:
    """What `probe` found.

    Args:
        dtype: The lower precision.
        limit: Its largest number.
        images: Number of photos.
        rows: The rows of the encoder, then those of the decoder.
        error: The error with all rows in that precision.
        kept: The error with the rows in float32 that come within a factor of `HEADROOM` of the limit; `None` if there
            are none.
    """

    dtype: str
    limit: float
    images: int
    rows: tuple[RowMagnitude, ...]
    error: PrecisionError
    kept: PrecisionError | None

    @property
    def safe(self) -> bool:
        """Whether all rows can have that precision."""
        return self.kept is None and self.error.small


def probe(
    vae: VAE,
    photos: Sequence[Photo],
    size: int = 256,
    dtype: str = "fp16",
    track: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Probe:
    """Measure on photos whether a model can run in a lower precision, and which rows should stay in float32.

    Args:
        vae: Model in float32 and eval mode, not optimized.
        photos: At least one photo, such as `vaezoo.data.photos.photos` lists them.
        size: Pixels per side to which the photos are resized and cropped, a multiple of `vae.size_multiple`.
        dtype: "fp16" or "bf16".
        track: Function that iterates over the photos, for example to show progress.

    Raises:
        InputError: If there are no photos, the model is not in float32 or is optimized, or `size` does not fit.
        ImageError: If a file is not an image.

    Examples:
        >>> import vaezoo
        >>> from vaezoo.data.photos import photos
        >>> from vaezoo.evaluation.probe import probe
        >>> vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
        >>> probe(vae, photos(None)[:1], size=64).safe
        True
    """
    if not photos:
        raise InputError("probe: no photos; pass at least one")
    vae = unwrapped(vae)
    if vae.dtype != torch.float32 or vae.executor is not None:
        raise InputError("probe compares with float32: pass the model in float32 that you would optimize")
    limit = torch.finfo(DTYPES[dtype]).max
    with _magnitudes(vae) as largest:
        error = _compare(vae, photos, size, dtype, (), track)
    rows = []
    for name, found in largest.items():
        layer, value = max(found.items(), key=lambda item: item[1].item())
        half, index = name.rstrip("]").split("[")
        rows.append(RowMagnitude(name, getattr(vae.spec, half)[int(index)].block, value.item(), layer))
    keep = tuple(row.row for row in rows if row.largest > limit / HEADROOM)
    kept = _compare(vae, photos, size, dtype, keep, track) if keep else None
    return Probe(dtype, limit, len(photos), tuple(rows), error, kept)


def _compare(
    vae: VAE,
    photos: Sequence[Photo],
    size: int,
    dtype: str,
    keep: tuple[str, ...],
    track: Callable[[Sequence[Any]], Iterable[Any]],
) -> PrecisionError:
    """Reconstruct photos in float32 and in another dtype."""
    lower = optimize(vae, dtype, keep_fp32=keep)
    lower.executor = StripExecutor(None, fuse=True, downscale=vae.downscale, cast_from=vae.dtype)  # checks nothing
    difference, lowest, finite = 0.0, math.inf, True
    with torch.inference_mode():
        for photo in track(photos):
            images = to_tensor(resize_and_crop(photo.read(), size)).to(vae.device)
            expected = check_finite(vae, vae.decode(vae.encode(images).mode()), photo.name).clamp(-1, 1)
            result = lower.decode(lower.encode(images).mode())
            finite = finite and bool(result.isfinite().all())
            difference = max(difference, (result.clamp(-1, 1) - expected).abs().max().item())
            lowest = min(lowest, psnr(expected, result).item())
    return PrecisionError(keep, finite, difference if finite else None, lowest if finite else None)


@contextmanager
def _magnitudes(vae: VAE) -> Iterator[dict[str, dict[str, Tensor]]]:
    """Record the largest magnitudes of the maps of a model: for each row, by where in the row they are."""
    largest: dict[str, dict[str, Tensor]] = {}
    hooks = []

    def record(row: str, layer: str, x: Any) -> None:
        if isinstance(x, Tensor):
            found = largest[row]
            value = torch.linalg.vector_norm(x, ord=math.inf)
            found[layer] = torch.maximum(found[layer], value) if layer in found else value

    for half in (vae.encoder, vae.decoder):
        for index, block in enumerate(half):
            row = f"{half.name}[{index}]"
            largest[row] = {}
            hooks.append(block.register_forward_pre_hook(lambda _, x, row=row: record(row, "input", x[0])))
            for name, layer in block.named_modules():
                hook = lambda _, x, y, row=row, name=name: record(row, name or "output", y)  # noqa: E731
                hooks.append(layer.register_forward_hook(hook))
    try:
        yield largest
    finally:
        for handle in hooks:
            handle.remove()
