"""Images through a model and back, whatever their size."""

import torch
from torch import Tensor

from vaezoo.io.images import pad_to_multiple
from vaezoo.nn.vae import VAE


def reconstruct(vae: VAE, images: Tensor) -> Tensor:
    """Decode the posterior's mode: (B, C, H, W) in [-1, 1] of any size -> the same shape, float32 on the CPU.

    The images are reflect-padded to the model's `size_multiple` and cropped back; the result is clamped to [-1, 1].
    """
    height, width = images.shape[-2:]
    with torch.inference_mode():
        padded = pad_to_multiple(images, vae.size_multiple).to(vae.device, vae.dtype)
        decoded = vae.decode(vae.encode(padded).mode())
    return decoded[..., :height, :width].clamp(-1, 1).to("cpu", torch.float32)
