"""The game between a VAE and a discriminator: what each of the two is asked to lower, and how much it counts."""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from vaezoo.distributed import mean_over_processes
from vaezoo.errors import InputError
from vaezoo.specs.marks import Between

EPS = 1e-4  # beside the norm of the adversarial gradient, as in the source


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss of logits of any shape: 0 where all are beyond 1, on the right side.

    Source: Lim and Ye 2017 (arXiv:1705.02894); halved as in LDM.
    """
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss of logits of any shape: -log sigmoid(real) - log(1 - sigmoid(fake)), halved.

    Source: Goodfellow et al. 2014 (arXiv:1406.2661).
    """
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


class Game(NamedTuple):
    """Two losses of logits, both scalars: `judge(real, fake)` and `fool(fake)`."""

    judge: Callable[[Tensor, Tensor], Tensor]
    fool: Callable[[Tensor], Tensor]


GAMES = {
    "hinge": Game(hinge, lambda fake: -fake.mean()),
    "non_saturating": Game(cross_entropy, lambda fake: F.softplus(-fake).mean()),  # -log sigmoid(fake)
}


class Adversary(nn.Module):
    """A discriminator and the game it plays. Its forward is the discriminator's step, its `fool` the VAE's.

    Args:
        discriminator: One of `DISCRIMINATORS`.
        game: A key of `GAMES`.
        weight: Of the VAE's adversarial loss, beside losses in the convention of `losses.py`.
        adaptive: Whether `weight` is multiplied by the ratio of gradients, see `balance`.
        limit: Largest ratio.
        start: Updates of the *VAE* before the game begins, whatever else is counted.
        lecam: Weight of LeCam's regulariser in the discriminator's loss; 0 leaves it out.
        decay: Of its moving averages of logits.

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
        self.register_buffer("mean_real", torch.zeros(()))
        self.register_buffer("mean_fake", torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def plays(self, step: int) -> bool:
        """Whether the game has begun after `step` updates of the VAE."""
        return step >= self.start

    def fool(self, reconstruction: Tensor) -> Tensor:
        """The VAE's adversarial loss, before its weight; its gradient reaches the reconstruction only.

        Args:
            reconstruction: Of shape (B, 3, H, W), about [-1, 1].
        """
        tensors = {name: tensor.detach() for name, tensor in self.discriminator.named_parameters()}
        return self.game.fool(functional_call(self.discriminator, tensors, (reconstruction,)).float())

    def forward(self, images: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
        """The discriminator's losses; the gradient reaches the discriminator only.

        Args:
            images: Of shape (B, 3, H, W), in [-1, 1].
            reconstruction: Of the same shape.

        Returns:
            `loss`, a scalar with a gradient; without one: `logits_real` and `logits_fake`, their means, `accuracy`, the
            share of logits with the right sign, and `lecam`, before its weight.
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
        """Moving averages over all ranks; at first plain means, so that they do not start from nowhere."""
        keep = (self.steps / (self.steps + 1)).clamp(max=self.decay)
        for average, logits in ((self.mean_real, real), (self.mean_fake, fake)):
            average.lerp_(mean_over_processes(logits.detach().mean()), 1 - keep)
        self.steps += 1


def balance(loss: Tensor, other: Tensor, weight: Tensor, limit: float) -> Tensor:
    """|gradient of `loss`| / |gradient of `other`| at one tensor, at most `limit`: what makes `other` weigh as much.

    The gradients are means over all ranks, so that every rank multiplies by the same number. Call it outside autocast.

    Args:
        loss: The reconstruction losses together, a scalar whose graph is kept.
        other: The loss to be weighted, likewise.
        weight: Where both gradients are taken: see `last_weight`.
        limit: Largest ratio.

    Returns:
        A scalar without a gradient, float32.

    Raises:
        InputError: If autocast is on, or `weight` is not trained.

    Source: Esser et al. 2021 (arXiv:2012.09841), equation 7; CompVis/latent-diffusion@a506df5
    `ldm/modules/losses/contperceptual.py`, line 32.
    """
    if torch.is_autocast_enabled(weight.device.type):
        raise InputError("balance: autocast is on, and small gradients would be lost; call it outside")
    if not weight.requires_grad:
        raise InputError("balance: the layer at which gradients are compared is not trained; take a fixed weight")
    norms = []
    for scalar in (loss, other):
        (gradient,) = torch.autograd.grad(scalar, weight, retain_graph=True)
        norms.append(mean_over_processes(gradient.float()).norm())
    return (norms[0] / (norms[1] + EPS)).clamp(max=limit).detach()


def last_weight(stack: nn.Module) -> nn.Parameter:
    """The weight of the last layer of an encoder or decoder that has a matrix or convolution."""
    return [p for p in stack.parameters() if p.ndim > 1][-1]
