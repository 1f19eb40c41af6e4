"""Structural similarity (SSIM) and its multi-scale form (MS-SSIM)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.evaluation.metrics.psnr import check_same_shape

WINDOW, SIGMA = 11, 1.5  # size and standard deviation of the Gaussian window, in pixels
K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of MS-SSIM, from the finest scale to the coarsest
SMALLEST_MS_SSIM = WINDOW * 2 ** (len(SCALE_WEIGHTS) - 1)  # pixels per side; the coarsest scale holds one window


def ssim(images: Tensor, reconstruction: Tensor) -> Tensor:
    """Compute the structural similarity of each image, the mean of `ssim_map`.

    Args:
        images: Tensor of shape (B, C, H, W) with values in [-1, 1]; H and W at least 11.
        reconstruction: Tensor of the same shape; it is clamped to [-1, 1] first.

    Returns:
        SSIM, at most 1, of shape (B,) and in float64.

    Raises:
        InputError: If the shapes differ, or an image is smaller than the window.
    """
    return ssim_map(images, reconstruction).mean(dim=(1, 2, 3))


def ssim_map(images: Tensor, reconstruction: Tensor) -> Tensor:
    """Compute the structural similarity around each pixel, in each channel.

    The window is Gaussian; the image is padded by reflection.

    Args:
        images: Tensor of shape (B, C, H, W) with values in [-1, 1]; H and W at least 11.
        reconstruction: Tensor of the same shape; it is clamped to [-1, 1] first.

    Returns:
        SSIM, at most 1, of shape (B, C, H, W) and in float64.

    Raises:
        InputError: If the shapes differ, or an image is smaller than the window.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity". The padding
    follows torchmetrics, with which most VAEs are evaluated.
    """
    _check_size(images, reconstruction, "ssim", WINDOW)
    luminance, contrast = ssim_factors(_to_unit_range(images), _to_unit_range(reconstruction))
    return luminance * contrast


def ms_ssim(images: Tensor, reconstruction: Tensor) -> Tensor:
    """Compute SSIM over five scales, each half the size of the previous one.

    Negative contrast terms count as 0.

    Args:
        images: Tensor of shape (B, C, H, W) with values in [-1, 1]; H and W at least 176.
        reconstruction: Tensor of the same shape; it is clamped to [-1, 1] first.

    Returns:
        MS-SSIM, in [0, 1], of shape (B,) and in float64.

    Raises:
        InputError: If the shapes differ, or an image is smaller than the window at the coarsest scale.

    Source: Wang et al. 2003, "Multiscale structural similarity for image quality assessment".
    """
    _check_size(images, reconstruction, "ms_ssim", SMALLEST_MS_SSIM)
    a, b = _to_unit_range(images), _to_unit_range(reconstruction)
    product = torch.ones(len(images), dtype=torch.float64, device=images.device)
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    for weight in SCALE_WEIGHTS[:-1]:
        _, contrast = ssim_factors(a, b)
        product *= contrast[..., inside, inside].mean(dim=(1, 2, 3)).clamp(min=0) ** weight
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    luminance, contrast = ssim_factors(a, b)
    return product * (luminance * contrast).mean(dim=(1, 2, 3)).clamp(min=0) ** SCALE_WEIGHTS[-1]


def ssim_factors(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the two factors of SSIM around each pixel: luminance, and contrast times structure.

    Args:
        a: Tensor of shape (B, C, H, W) with values in [0, 1], in float32 or float64; H and W at least 11.
        b: Tensor of the same shape, dtype and range.

    Returns:
        Both factors, each of shape (B, C, H, W).
    """
    a_mean, b_mean = _blur(a), _blur(b)
    a_var, b_var = _blur(a * a) - a_mean**2, _blur(b * b) - b_mean**2
    covariance = _blur(a * b) - a_mean * b_mean
    c1, c2 = K1**2, K2**2
    luminance = (2 * a_mean * b_mean + c1) / (a_mean**2 + b_mean**2 + c1)
    return luminance, (2 * covariance + c2) / (a_var + b_var + c2)


def _blur(x: Tensor) -> Tensor:
    """Compute the weighted mean over the window around each pixel, in the shape of `x`."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights = (weights / weights.sum()).expand(x.shape[1], 1, 1, -1)
    padded = F.pad(x, [WINDOW // 2] * 4, mode="reflect")
    rows = F.conv2d(padded, weights, groups=x.shape[1])
    return F.conv2d(rows, weights.transpose(2, 3), groups=x.shape[1])


def _check_size(images: Tensor, reconstruction: Tensor, metric: str, smallest: int) -> None:
    check_same_shape(images, reconstruction, metric)
    if min(images.shape[2:]) < smallest:
        raise InputError(f"{metric}: images of shape {tuple(images.shape)}; H and W must be {smallest} or more")


def _to_unit_range(images: Tensor) -> Tensor:
    """Map [-1, 1] to [0, 1], clamped and in float64: SSIM measures means from black."""
    return (images.double().clamp(-1, 1) + 1) / 2
