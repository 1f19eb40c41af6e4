"""Perceptual losses without a network: the error, and the amount of detail, in each band of a Laplacian pyramid."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.errors import InputError
from vaezoo.nn.vae import Output
from vaezoo.specs.marks import Between

FILTER = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # binomial
Levels = Annotated[int, Between(1, 8)]


class Laplacian(nn.Module):
    """mean |x - y| in each band of a Laplacian pyramid, averaged over the bands and the low-pass image that remains.

    Compared with `l1`, an error that is spread over a large area costs more, because it appears in several bands.

    Args:
        levels: Number of bands, each of an octave; H and W must be at least 4 * 2 ** (levels - 1).

    Source: Burt and Adelson 1983, "The Laplacian pyramid as a compact image code", filtered, subtracted and decimated
    as in van der Wal and Burt 1992; as a loss in Bojanowski et al. 2018 (arXiv:1707.05776), where bands are sums with
    a weight that makes them means.
    """

    def __init__(self, *, levels: Levels = 4) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, out: Output, images: Tensor) -> Tensor:
        bands, rest = pyramid(out.reconstruction.float() - images.float(), self.levels, "laplacian")
        return torch.stack([band.abs().mean() for band in (*bands, rest)]).mean()


class Contrast(nn.Module):
    """mean |contrast of x - contrast of y|, averaged over the bands of a Laplacian pyramid.

    The contrast at a position is the root mean square of the band around it. It does not depend on where exactly the
    detail is: texture of the right strength costs nothing, where pixel losses prefer none. Add it to a pixel loss.

    Args:
        levels: Number of bands, each of an octave; H and W must be at least 4 * 2 ** (levels - 1).
        eps: Contrast below which differences hardly count, in units of images in [-1, 1].

    Source: the local energies of bands of Portilla and Simoncelli 2000, "A parametric texture model based on joint
    statistics of complex wavelet coefficients", and the contrast of SSIM (Wang et al. 2004), in the pyramid of
    `Laplacian`.
    """

    def __init__(self, *, levels: Levels = 3, eps: Annotated[float, Between(1e-4, 1.0)] = 0.01) -> None:
        super().__init__()
        self.levels, self.eps = levels, eps

    def forward(self, out: Output, images: Tensor) -> Tensor:
        pairs = zip(self.contrasts(images), self.contrasts(out.reconstruction), strict=True)
        return torch.stack([(a - b).abs().mean() for a, b in pairs]).mean()

    def contrasts(self, x: Tensor) -> list[Tensor]:
        """Return the root mean square of each band, around every second position."""
        bands, _ = pyramid(x.float(), self.levels, "contrast")
        with torch.autocast(x.device.type, enabled=False):
            return [(_blur(band.square())[..., ::2, ::2] + self.eps**2).sqrt() for band in bands]


def pyramid(x: Tensor, levels: int, loss: str) -> tuple[list[Tensor], Tensor]:
    """Decompose images into octave bands; x - blurred x at each level, which then halves the size of the blurred x.

    Args:
        x: Tensor of shape (B, C, H, W), float32.
        levels: Number of bands.
        loss: Kind of the loss, for the error message.

    Returns:
        The bands, from fine to coarse, and the low-pass image that remains.

    Raises:
        InputError: If H or W is less than 4 * 2 ** (levels - 1).
    """
    smallest = 4 * 2 ** (levels - 1)
    if min(x.shape[2:]) < smallest:
        raise InputError(f"{loss}: images of shape {tuple(x.shape)}; {levels} levels take {smallest} pixels or more")
    bands = []
    with torch.autocast(x.device.type, enabled=False):
        for _ in range(levels):
            low = _blur(x)
            bands.append(x - low)
            x = low[..., ::2, ::2]
    return bands, x


def _blur(x: Tensor) -> Tensor:
    """Filter each channel with the binomial filter, reflected at the edges."""
    channels, weights = x.shape[1], torch.tensor(FILTER, device=x.device)
    x = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), weights.expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(x, weights.view(1, 1, -1, 1).expand(channels, 1, -1, -1), groups=channels)
