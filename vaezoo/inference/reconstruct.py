"""Reconstruction of images of any size."""

from typing import overload

import torch
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.io.resize_and_pad import pad_to_multiple
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE


@overload
def reconstruct(vae: VAE, images: Tensor) -> Tensor: ...
@overload
def reconstruct(vae: VAE, images: list[Tensor] | tuple[Tensor, ...]) -> list[Tensor]: ...
def reconstruct(vae: VAE, images: Tensor | list[Tensor] | tuple[Tensor, ...]) -> Tensor | list[Tensor]:
    """Encode images and decode the mode of the posterior.

    The images are reflect-padded to multiples of `vae.size_multiple`, and the result is cropped back.

    Args:
        vae: The model; its device and dtype are used.
        images: Images of shape (B, C, H, W) with values in [-1, 1], of any size, dtype and device; or a list of them,
            whose sizes may differ.

    Returns:
        Reconstructions of the same shape, clamped to [-1, 1], float32 on the CPU; for a list, a list of them.

    Raises:
        InputError: If the model computes NaN or infinite values.

    Examples:
        >>> import torch, vaezoo
        >>> from vaezoo.inference.reconstruct import reconstruct
        >>> vae = vaezoo.create("vae_f8_z4_micro")
        >>> tuple(reconstruct(vae, torch.zeros(1, 3, 30, 45)).shape)
        (1, 3, 30, 45)
        >>> [tuple(x.shape) for x in reconstruct(vae, [torch.zeros(1, 3, 30, 45), torch.zeros(2, 3, 8, 9)])]
        [(1, 3, 30, 45), (2, 3, 8, 9)]
    """
    if isinstance(images, list | tuple):
        return [reconstruct(vae, each) for each in images]
    vae = unwrapped(vae)
    height, width = images.shape[-2:]
    with torch.inference_mode():
        padded = pad_to_multiple(images, vae.size_multiple).to(vae.device, vae.dtype)
        decoded = vae.decode(vae.encode(padded).mode())
    check_finite(vae, decoded, f"an image of {height}x{width}")
    return decoded[..., :height, :width].clamp(-1, 1).to("cpu", torch.float32)


def check_finite(vae: VAE, computed: Tensor, image: str) -> Tensor:
    """Return what a model computed for `image`; raise `InputError` if it has NaN or infinite values."""
    if not computed.isfinite().all():
        remedy = "its weights are not usable" if vae.dtype == torch.float32 else "run it in fp32 or bf16"
        text = f"{image}: {vae.spec.label} in {vae.dtype} computes NaN or infinite values for it"
        raise InputError(f"{text}; {remedy}")
    return computed
