"""Lightness and chroma errors in CIE Lab."""

import torch
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.evaluation.metrics.psnr import check_same_shape

# linear sRGB -> CIE XYZ, and its white point (D65, 2 degrees): ITU-R BT.709 primaries
TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)


def to_lab(images: Tensor) -> Tensor:
    """Convert sRGB images to CIE Lab.

    Args:
        images: Tensor of shape (B, 3, H, W) with values in [-1, 1].

    Returns:
        Tensor of the same shape in float64; L* is in [0, 100], a* and b* are about +-100 at most.

    Raises:
        InputError: If the shape is not (B, 3, H, W).

    Source: CIE 15:2004; the transfer curve of IEC 61966-2-1 (sRGB).
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"to_lab: images of shape {tuple(images.shape)}; expected (B, 3, H, W)")
    unit = (images.double().clamp(-1, 1) + 1) / 2
    linear = torch.where(unit > 0.04045, ((unit + 0.055) / 1.055) ** 2.4, unit / 12.92)
    xyz = torch.einsum("ij,bjhw->bihw", linear.new_tensor(TO_XYZ), linear)
    ratio = xyz / xyz.new_tensor(WHITE).view(1, 3, 1, 1)
    x, y, z = torch.where(ratio > 0.008856, ratio ** (1 / 3), 7.787 * ratio + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lab_error(images: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the lightness error and the chroma error of each image.

    Args:
        images: Tensor of shape (B, 3, H, W) with values in [-1, 1].
        reconstruction: Tensor of the same shape; it is clamped to [-1, 1] first.

    Returns:
        Mean |dL*| and mean distance in the a*b* plane, both of shape (B,), in CIE Lab units.

    Raises:
        InputError: If the shapes differ, or there are not three channels.
    """
    check_same_shape(images, reconstruction, "lab_error")
    error = to_lab(images) - to_lab(reconstruction)
    chroma = torch.linalg.vector_norm(error[:, 1:], dim=1)
    return error[:, 0].abs().mean(dim=(1, 2)), chroma.mean(dim=(1, 2))
