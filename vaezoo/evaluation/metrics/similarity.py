"""Metrics of a reconstruction: how far each image is from what it should be."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.errors import InputError

WINDOW, SIGMA = 11, 1.5  # pixels of SSIM's Gaussian window, and its standard deviation
K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of MS-SSIM, from the finest scale to the coarsest
SMALLEST_MS_SSIM = WINDOW * 2 ** (len(SCALE_WEIGHTS) - 1)  # pixels per side; the coarsest scale holds one window


def psnr(images: Tensor, reconstruction: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image, of shape (B,); infinite for equal images.

    Args:
        images: Of shape (B, C, H, W), values in [-1, 1].
        reconstruction: Of the same shape; clamped to [-1, 1] first.

    Raises:
        InputError: If the shapes differ.
    """
    check_pair(images, reconstruction, "psnr")
    error = (images.double() - reconstruction.double().clamp(-1, 1)).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4 / error)  # peak to peak is 2


def ssim(images: Tensor, reconstruction: Tensor) -> Tensor:
    """Structural similarity of each image, at most 1, of shape (B,): the mean of `ssim_map`."""
    return ssim_map(images, reconstruction).mean(dim=(1, 2, 3))


def ssim_map(images: Tensor, reconstruction: Tensor) -> Tensor:
    """Structural similarity around each pixel and channel, at most 1, of shape (B, C, H, W), float64.

    The window is a Gaussian; at the border the image is reflected.

    Args:
        images: Of shape (B, C, H, W), values in [-1, 1]; H and W at least 11.
        reconstruction: Of the same shape; clamped to [-1, 1] first.

    Raises:
        InputError: If the shapes differ, or an image is smaller than the window.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity"; the border as
    torchmetrics has it, by which most VAEs are reported.
    """
    _check_size(images, reconstruction, "ssim", WINDOW)
    luminance, contrast = similarity(_unit(images), _unit(reconstruction))
    return luminance * contrast


def ms_ssim(images: Tensor, reconstruction: Tensor) -> Tensor:
    """SSIM over five scales, each half the one before, of shape (B,); negative contrast terms count as 0.

    Args:
        images: Of shape (B, C, H, W), values in [-1, 1]; H and W at least 176.
        reconstruction: Of the same shape; clamped to [-1, 1] first.

    Raises:
        InputError: If the shapes differ, or an image is smaller than the window at the coarsest scale.

    Source: Wang et al. 2003, "Multiscale structural similarity for image quality assessment".
    """
    _check_size(images, reconstruction, "ms_ssim", SMALLEST_MS_SSIM)
    a, b = _unit(images), _unit(reconstruction)
    product = torch.ones(len(images), dtype=torch.float64, device=images.device)
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    for weight in SCALE_WEIGHTS[:-1]:
        _, contrast = similarity(a, b)
        product *= contrast[..., inside, inside].mean(dim=(1, 2, 3)).clamp(min=0) ** weight
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    luminance, contrast = similarity(a, b)
    return product * (luminance * contrast).mean(dim=(1, 2, 3)).clamp(min=0) ** SCALE_WEIGHTS[-1]


def check_pair(images: Tensor, reconstruction: Tensor, metric: str) -> None:
    """Raise `InputError` unless both are of one shape."""
    if images.shape != reconstruction.shape:
        raise InputError(f"{metric}: shapes {tuple(images.shape)} and {tuple(reconstruction.shape)} differ")


def _check_size(images: Tensor, reconstruction: Tensor, metric: str, smallest: int) -> None:
    check_pair(images, reconstruction, metric)
    if min(images.shape[2:]) < smallest:
        raise InputError(f"{metric}: images of shape {tuple(images.shape)}; H and W must be {smallest} or more")


def _unit(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1], clamped, in double: SSIM's means count from black."""
    return (images.double().clamp(-1, 1) + 1) / 2


def similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM around each pixel, luminance and contrast with structure, both of shape (B, C, H, W).

    Args:
        a: Of shape (B, C, H, W), values in [0, 1], float32 or float64; H and W at least 11.
        b: The same.
    """
    a_mean, b_mean = _blur(a), _blur(b)
    a_var, b_var = _blur(a * a) - a_mean**2, _blur(b * b) - b_mean**2
    covariance = _blur(a * b) - a_mean * b_mean
    c1, c2 = K1**2, K2**2
    luminance = (2 * a_mean * b_mean + c1) / (a_mean**2 + b_mean**2 + c1)
    return luminance, (2 * covariance + c2) / (a_var + b_var + c2)


def _blur(x: Tensor) -> Tensor:
    """Weighted mean over the window around each pixel, of the same shape."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights = (weights / weights.sum()).expand(x.shape[1], 1, 1, -1)
    padded = F.pad(x, [WINDOW // 2] * 4, mode="reflect")
    rows = F.conv2d(padded, weights, groups=x.shape[1])
    return F.conv2d(rows, weights.transpose(2, 3), groups=x.shape[1])
