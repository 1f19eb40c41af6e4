"""Adversarial training: the losses of VAE and discriminator, and the weight of the adversarial loss."""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from vaezoo.distributed import mean_over_processes
from vaezoo.errors import InputError
from vaezoo.specs.marks import Between

EPS = 1e-4  # added to the norm of the adversarial gradient, as in the source of `balance`


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of a discriminator, halved as in LDM: 0 if all logits are beyond the margin 1 on the correct side.

    Args:
        real: Logits of images, of any shape.
        fake: Logits of reconstructions, of any shape.

    Source: Lim and Ye 2017 (arXiv:1705.02894).
    """
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """Cross entropy of a discriminator, halved: (-log sigmoid(real) - log(1 - sigmoid(fake))) / 2; as for `hinge`.

    Source: Goodfellow et al. 2014 (arXiv:1406.2661).
    """
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


class Game(NamedTuple):
    """The two losses of a kind of adversarial training; both return scalars.

    Args:
        judge: Loss of the discriminator, from the logits of images and of reconstructions.
        fool: Loss of the VAE, from the logits of reconstructions.
    """

    judge: Callable[[Tensor, Tensor], Tensor]
    fool: Callable[[Tensor], Tensor]


GAMES = {
    "hinge": Game(hinge, lambda fake: -fake.mean()),
    "non_saturating": Game(cross_entropy, lambda fake: F.softplus(-fake).mean()),  # -log sigmoid(fake)
}


class Adversary(nn.Module):
    """A discriminator with its losses: `forward` returns those of the discriminator, `fool` that of the VAE.

    Args:
        discriminator: A module of `DISCRIMINATORS`.
        game: Kind of losses, a key of `GAMES`.
        weight: Weight of the VAE's adversarial loss, beside losses in the convention of `losses.py`.
        adaptive: Whether to multiply `weight` by a ratio of gradients, see `balance`.
        limit: Largest ratio.
        start: Number of updates of the *VAE* before adversarial training starts.
        lecam: Weight of LeCam regularization in the loss of the discriminator; 0 disables it.
        decay: Decay of its moving averages of logits, from 0 to 1.

    Source: Rombach et al. 2022 (arXiv:2112.10752), CompVis/latent-diffusion@a506df5
    `ldm/modules/losses/contperceptual.py`; Tseng et al. 2021 (arXiv:2104.03310), LeCam.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        *,
        game: Annotated[str, GAMES] = "hinge",
        weight: Annotated[float, Between(0.0, 1e6)],
        adaptive: bool = False,
        limit: Annotated[float, Between(0.0, 1e9)] = 1e4,
        start: Annotated[int, Between(0, 1_000_000_000)] = 0,
        lecam: Annotated[float, Between(0.0, 1e6)] = 0.0,
        decay: Annotated[float, Between(0.0, 1.0)] = 0.999,
    ) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.game = GAMES[game]
        self.weight, self.adaptive, self.limit, self.start = weight, adaptive, limit, start
        self.lecam, self.decay = lecam, decay
        self.mean_real: Tensor
        self.mean_fake: Tensor
        self.steps: Tensor
        self.register_buffer("mean_real", torch.zeros(()))
        self.register_buffer("mean_fake", torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def plays(self, step: int) -> bool:
        """Return whether adversarial training has started after `step` updates of the VAE."""
        return step >= self.start

    def fool(self, reconstruction: Tensor) -> Tensor:
        """Compute the adversarial loss of the VAE, unweighted; only the reconstruction gets a gradient.

        Args:
            reconstruction: Tensor of shape (B, 3, H, W), about in [-1, 1].
        """
        tensors = {name: tensor.detach() for name, tensor in self.discriminator.named_parameters()}
        return self.game.fool(functional_call(self.discriminator, tensors, (reconstruction,)).float())

    def forward(self, images: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
        """Compute the losses of the discriminator; only the discriminator gets a gradient.

        Args:
            images: Tensor of shape (B, 3, H, W), in [-1, 1].
            reconstruction: Tensor of the same shape.

        Returns:
            `loss`, a scalar with a gradient. Without a gradient: `logits_real` and `logits_fake`, the mean logits;
            `accuracy`, the fraction of logits with the correct sign; `lecam`, the unweighted LeCam regularization.
        """
        real, fake = self.discriminator(images).float(), self.discriminator(reconstruction.detach()).float()
        loss, lecam = self.game.judge(real, fake), real.new_zeros(())
        if self.lecam:
            self._remember(real, fake)
            lecam = F.relu(real - self.mean_fake).square().mean() + F.relu(self.mean_real - fake).square().mean()
            loss = loss + self.lecam * lecam
        accuracy = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        parts = {"logits_real": real.mean(), "logits_fake": fake.mean(), "accuracy": accuracy, "lecam": lecam}
        return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}

    def _remember(self, real: Tensor, fake: Tensor) -> None:
        """Update the moving averages over all processes, which are plain means until `decay` is reached."""
        keep = (self.steps / (self.steps + 1)).clamp(max=self.decay)
        for average, logits in ((self.mean_real, real), (self.mean_fake, fake)):
            average.lerp_(mean_over_processes(logits.detach().mean()), 1 - keep)
        self.steps += 1


def balance(loss: Tensor, other: Tensor, weight: Tensor, limit: float) -> Tensor:
    """Compute the adaptive weight of a loss: |gradient of `loss`| / |gradient of `other`|, at most `limit`.

    The gradients are averaged over all processes, so that the weight is the same everywhere.

    Args:
        loss: Sum of the reconstruction losses, a scalar; its graph is kept.
        other: Loss to weight, a scalar; its graph is kept.
        weight: Parameter at which both gradients are taken, see `last_weight`.
        limit: Largest ratio.

    Returns:
        A scalar, float32, without a gradient.

    Raises:
        InputError: If autocast is on, or `weight` is not trained.

    Source: Esser et al. 2021 (arXiv:2012.09841), equation 7; CompVis/latent-diffusion@a506df5
    `ldm/modules/losses/contperceptual.py`, line 32.
    """
    if torch.is_autocast_enabled(weight.device.type):
        raise InputError("balance: autocast is on, and would lose small gradients; call balance outside of autocast")
    if not weight.requires_grad:
        raise InputError("balance: the layer at which gradients are compared is not trained; use a fixed weight")
    norms = []
    for scalar in (loss, other):
        (gradient,) = torch.autograd.grad(scalar, weight, retain_graph=True)
        norms.append(mean_over_processes(gradient.float()).norm())
    return (norms[0] / (norms[1] + EPS)).clamp(max=limit).detach()


def last_weight(stack: nn.Module) -> nn.Parameter:
    """Return the weight of the last linear or convolutional layer of an encoder or decoder."""
    return [p for p in stack.parameters() if p.ndim > 1][-1]
