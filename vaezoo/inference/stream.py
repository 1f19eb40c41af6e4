"""Reconstruction of pictures that are too large for floating-point copies of them."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.inference.executor import StripExecutor
from vaezoo.inference.reconstruct import check_finite
from vaezoo.io.images import to_tensor
from vaezoo.io.pixels import Array
from vaezoo.io.resize_and_pad import reflected
from vaezoo.nn.distributions import LATENTS
from vaezoo.nn.inputs import check_tensor
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE


@torch.inference_mode()  # around each step; a `with` in a generator would be in effect outside of it, too
def reconstruct_rows(
    vae: VAE, picture: Array, progress: Callable[[float], object] = lambda share: None
) -> Iterator[tuple[int, Tensor]]:
    """Reconstruct a picture strip by strip, as `reconstruct` does: reflect-padded, encoded, decoded and cropped back.

    Rows of the picture are converted to floating-point values when they are needed, so that memory is used for the
    picture and for the strips only.

    Args:
        vae: A model of `vaezoo.optimize(…, tile=…)`.
        picture: Array of any dtype and shape that `to_tensor` takes.
        progress: Called after each step with its share of the work; the shares add up to 1.

    Yields:
        The first row of a strip, and the reconstruction of its rows of shape (1, 3, rows, W), clamped to [-1, 1],
        float32 on the CPU; strips come from top to bottom.

    Raises:
        InputError: If the model is not of `optimize`, does not take RGB images, or computes NaN or infinite values.
        OutOfMemoryError: If there is not enough memory.

    Examples:
        >>> import numpy as np, vaezoo
        >>> from vaezoo.inference.stream import reconstruct_rows
        >>> vae = vaezoo.optimize(vaezoo.create("vae_f8_z4_micro"), tile=32)
        >>> sum(rows.shape[-2] for first, rows in reconstruct_rows(vae, np.zeros((100, 40, 3), np.uint8)))
        100
    """
    vae = unwrapped(vae)
    executor = vae.executor
    if not isinstance(executor, StripExecutor):
        raise InputError(f"{vae.spec.label} does not run in strips: pass vaezoo.optimize(vae, tile='auto')")
    if executor.processes.world_size > 1:
        raise InputError("pictures are not streamed by several processes; call reconstruct, or optimize without them")
    height, width = picture.shape[:2]
    rows, columns = reflected(height, vae.size_multiple), reflected(width, vae.size_multiple)
    images = torch.empty(1, dtype=vae.dtype).expand(1, 3, len(rows), len(columns))  # for messages; takes no memory
    check_tensor(images, "images", vae.spec.image.channels, vae.size_multiple)

    def read(first: int, last: int) -> Tensor:
        values = to_tensor(picture[first:last] if last <= height else picture[rows[first:last].numpy()])
        return values if len(columns) == width else values[..., columns]

    def half(share: float) -> None:
        progress(share / 2)

    shape = (1, 3, len(rows), len(columns))
    moments = torch.cat([strip for _, strip in executor.stream(vae.encoder, shape, read, half)], dim=-2)
    z = LATENTS[vae.spec.latent.kind](moments).mode()
    del moments
    latents = (1, *z.shape[1:])
    for first, strip in executor.stream(vae.decoder, latents, lambda a, b: z[..., a:b, :], half):
        check_finite(vae, strip, f"an image of {height}x{width}")
        if first < height:
            yield first, strip[..., : height - first, :width].clamp(-1, 1).to("cpu", torch.float32)
