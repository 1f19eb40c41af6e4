"""Losses of a reconstruction. `LOSSES` maps a recipe's name to a module; its keyword-only arguments are the keys.

One convention, for all of them: **a loss is a mean over image elements and batch**. Pixel losses are means over all
B * C * H * W values; a perceptual loss is one number an image, and the mean over the batch; the KL is in nats,
divided by the number of *image* elements B * C * H * W, whatever the size of the latent. A reconstruction loss in nats
and the KL then add up to the ELBO per image element, and a weight means the same at every resolution.

Every loss is `forward(out, images) -> scalar`, computed in float32 also where autocast is on; `out` is what the VAE's
forward returned, `images` are (B, C, H, W) in [-1, 1]. docs/recipes.md converts published weights.
"""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from vaezoo.errors import InputError
from vaezoo.evaluation.metrics.ssim import WINDOW, ssim_factors
from vaezoo.evaluation.nets.lpips import LPIPS
from vaezoo.nn.vae import Output
from vaezoo.specs.marks import Between
from vaezoo.warmstart.as_resampler import COLORS

Net = Literal["vgg", "alex"]


class L1(nn.Module):
    """mean |x - y|, of images `x` and reconstruction `y`, in units of the [-1, 1] range."""

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return _error(out, images).abs().mean()


class MSE(nn.Module):
    """mean (x - y)^2."""

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return _error(out, images).square().mean()


class Chroma(nn.Module):
    """mean |x - y| of the two colour differences, Cb and Cr of BT.601, in units of the [-1, 1] range.

    Losses of RGB hardly see colour, since most of their error is lightness; a short run then gives its few latent
    channels to lightness and loses a colour axis.

    Source: ITU-R BT.601-7, full range, as in JPEG (JFIF 1.02).
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(COLORS[1:]), persistent=False)

    def forward(self, out: Output, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return torch.einsum("ij,bjhw->bihw", self.weights, _error(out, images)).abs().mean()


class Charbonnier(nn.Module):
    """mean sqrt((x - y)^2 + eps^2): L1 with a round bottom of width `eps`.

    Args:
        eps: Errors below it count quadratically, in units of the [-1, 1] range.

    Source: Charbonnier et al. 1994 (two deterministic half-quadratic regularization algorithms), as in Lai et al. 2018
    (arXiv:1710.01992).
    """

    def __init__(self, *, eps: Annotated[float, Between(1e-8, 1.0)]) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return (_error(out, images).square() + self.eps**2).sqrt().mean()


class KL(nn.Module):
    """KL divergence of the posterior to a standard normal, in nats per *image* element; 0 for deterministic latents.

    Source: Kingma and Welling 2014 (arXiv:1312.6114).
    """

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return out.posterior.kl().sum() / images.numel()


class SSIM(nn.Module):
    """1 - structural similarity, 0 for equal images; as `evaluation.metrics.ssim`, in float32 and without its clamp,
    so that the gradient reaches values beyond [-1, 1].

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
    """

    def forward(self, out: Output, images: Tensor) -> Tensor:
        if min(images.shape[2:]) < WINDOW:
            raise InputError(f"ssim: images of shape {tuple(images.shape)}; H and W must be {WINDOW} or more")
        with torch.autocast(images.device.type, enabled=False):
            luminance, contrast = ssim_factors((images.float() + 1) / 2, (out.reconstruction.float() + 1) / 2)
        return 1 - (luminance * contrast).mean()


class Perceptual(nn.Module):
    """LPIPS, averaged over the batch. The distance of an image counts once, however many elements it has.

    Args:
        net: The backbone of `evaluation.lpips.LPIPS`; published recipes use vgg.
    """

    def __init__(self, *, net: Net) -> None:
        super().__init__()
        self.distance = LPIPS(net)

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return self.distance(images, out.reconstruction).mean()


class NLL(nn.Module):
    """e / exp(logvar) + logvar, of an error e and a learned log-variance: reconstruction in nats, up to a constant.

    With it a KL weight of 1 is the ELBO; the weight that a fixed one would need is learned as exp(logvar). `logvar` is
    a parameter of this module, and whoever trains must hand `parameters()` of the losses to the optimiser.

    Args:
        pixels: The error: a mean over image elements.
        perceptual: Weight of LPIPS, which is added to it; 0 leaves LPIPS out.
        net: The backbone of LPIPS.
        initial: Log-variance to start from.

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
    "lpips": Perceptual,
    "kl": KL,
    "nll": NLL,
}


def _error(out: Output, images: Tensor) -> Tensor:
    return out.reconstruction.float() - images.float()
