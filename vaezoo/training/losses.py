"""Losses of a reconstruction. `LOSSES` maps a recipe's name to a module; its keyword-only arguments are the keys.

One convention, for all of them: **a loss is a mean over image elements and batch**. Pixel losses are means over all
B * C * H * W values; a perceptual loss is one number an image, and the mean over the batch; the KL is in nats,
divided by the number of *image* elements B * C * H * W, whatever the size of the latent. A reconstruction loss in nats
and the KL then add up to the ELBO per image element, and a weight means the same at every resolution.

Every loss is `forward(out, images) -> scalar`, computed in float32 also where autocast is on; `out` is what the VAE's
forward returned, `images` are (B, C, H, W) in [-1, 1]. Published weights are converted in `conversion.py`.
"""

from typing import Annotated

from torch import Tensor, nn

from vaezoo.nn.vae import Output
from vaezoo.specs.check import Between


class L1(nn.Module):
    """mean |x - y|, of images `x` and reconstruction `y`, in units of the [-1, 1] range."""

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return _error(out, images).abs().mean()


class MSE(nn.Module):
    """mean (x - y)^2."""

    def forward(self, out: Output, images: Tensor) -> Tensor:
        return _error(out, images).square().mean()


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


LOSSES: dict[str, type[nn.Module]] = {"l1": L1, "mse": MSE, "charbonnier": Charbonnier, "kl": KL}


def _error(out: Output, images: Tensor) -> Tensor:
    return out.reconstruction.float() - images.float()
