"""Reconstruction losses. `LOSSES` maps the kinds of a recipe to modules, whose keyword arguments are the recipe's keys.

All losses follow one convention: **a loss is a mean over image elements and batch**. Pixel losses are means over all
B * C * H * W values. A perceptual loss is one number per image, averaged over the batch. The KL divergence is in nats,
divided by the number of *image* elements B * C * H * W, whatever the size of the latents. A reconstruction loss in nats
and the KL divergence then add up to the ELBO per image element, and a weight means the same at every resolution.

Every loss is called as `loss(out, images)` and returns a scalar, computed in float32 even under autocast. `out` is the
output of the VAE, `images` have shape (B, C, H, W) and values in [-1, 1]. docs/recipes.md converts published weights.
"""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from vaezoo.errors import InputError
from vaezoo.evaluation.metrics.ssim import WINDOW, ssim_factors
from vaezoo.evaluation.nets.lpips import LPIPS
from vaezoo.io.pixels import COLORS
from vaezoo.nn.vae import Output
from vaezoo.specs.marks import Between
from vaezoo.training.objective.pyramid_losses import Contrast, Laplacian

Net = Literal["vgg", "alex"]


class L1(nn.Module):
    """mean |x - y| over images x and reconstructions y in [-1, 1]."""

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return _error(out, images).abs().mean()


class MSE(nn.Module):
    """mean (x - y)^2 over images x and reconstructions y in [-1, 1]."""

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return _error(out, images).square().mean()


class Chroma(nn.Module):
    """mean |x - y| over the color differences Cb and Cr of BT.601, for images in [-1, 1].

    Most of the error in RGB is an error of lightness, so a short run may spend all of its few latent channels on
    lightness and lose a color axis. This loss counters that.

    Source: ITU-R BT.601-7, full range, as in JPEG (JFIF 1.02).
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(COLORS[1:]), persistent=False)

    def forward(self, out: Output, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return torch.einsum("ij,bjhw->bihw", self.weights, _error(out, images)).abs().mean()


class Charbonnier(nn.Module):
    """mean sqrt((x - y)^2 + eps^2): smooth L1, for images in [-1, 1].

    Args:
        eps: Error below which the loss is about quadratic.

    Source: Charbonnier et al. 1994 (two deterministic half-quadratic regularization algorithms), as in Lai et al. 2018
    (arXiv:1710.01992).
    """

    def __init__(self, *, eps: Annotated[float, Between(1e-8, 1.0)]) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return (_error(out, images).square() + self.eps**2).sqrt().mean()


class KL(nn.Module):
    """KL divergence of the posterior from a standard normal, in nats per *image* element; 0 for deterministic latents.

    Source: Kingma and Welling 2014 (arXiv:1312.6114).
    """

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return out.posterior.kl().sum() / images.numel()


class SSIM(nn.Module):
    """1 - structural similarity, so 0 for equal images.

    It is computed as in `vaezoo.evaluation.metrics.ssim`, but in float32 and without clamping, so that values outside
    [-1, 1] have a gradient. H and W must be at least 11.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
    """

    def forward(self, out: Output, images: Tensor) -> Tensor:
        if min(images.shape[2:]) < WINDOW:
            raise InputError(f"ssim: images of shape {tuple(images.shape)}; H and W must be {WINDOW} or more")
        with torch.autocast(images.device.type, enabled=False):
            luminance, contrast = ssim_factors((images.float() + 1) / 2, (out.reconstruction.float() + 1) / 2)
        return 1 - (luminance * contrast).mean()


class Perceptual(nn.Module):
    """LPIPS, averaged over the batch.

    Args:
        net: Backbone, "vgg" or "alex"; published recipes use "vgg".
    """

    def __init__(self, *, net: Net) -> None:
        super().__init__()
        self.distance = LPIPS(net)

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return self.distance(images, out.reconstruction).mean()


class NLL(nn.Module):
    """e / exp(logvar) + logvar for an error e and a learned log-variance: reconstruction in nats, up to a constant.

    With a KL weight of 1, the total is the ELBO. `logvar` is a parameter of this module, so the parameters of the
    losses must be given to the optimizer too.

    Args:
        pixels: Pixel error, "l1" or "mse".
        perceptual: Weight of LPIPS, which is added to the pixel error; 0 disables it.
        net: Backbone of LPIPS, "vgg" or "alex".
        initial: Initial value of `logvar`.

    Source: Rombach et al. 2022 (arXiv:2112.10752), CompVis/latent-diffusion@a506df5
    `ldm/modules/losses/contperceptual.py`, line 53, where it is never trained.
    """

    def __init__(
        self,
        *,
        pixels: Literal["l1", "mse"],
        perceptual: Annotated[float, Between(0.0, 1e6)] = 0.0,
        net: Net = "vgg",
        initial: Annotated[float, Between(-30.0, 20.0)] = 0.0,
    ) -> None:
        super().__init__()
        self.pixels = LOSSES[pixels]()
        self.weight = perceptual
        self.perceptual = Perceptual(net=net) if perceptual else None
        self.logvar = nn.Parameter(torch.tensor(initial))

    def forward(self, out: Output, images: Tensor) -> Tensor:
        error = self.pixels(out, images)
        if self.perceptual is not None:
            error = error + self.weight * self.perceptual(out, images)
        return error / self.logvar.exp() + self.logvar


LOSSES: dict[str, type[nn.Module]] = {
    "l1": L1,
    "mse": MSE,
    "chroma": Chroma,
    "charbonnier": Charbonnier,
    "ssim": SSIM,
    "laplacian": Laplacian,
    "contrast": Contrast,
    "lpips": Perceptual,
    "kl": KL,
    "nll": NLL,
}


def _error(out: Output, images: Tensor) -> Tensor:
    return out.reconstruction.float() - images.float()
