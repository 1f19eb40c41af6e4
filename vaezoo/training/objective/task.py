"""The trained modules as one, whose `forward` returns the losses, so that DistributedDataParallel sees every call."""

import fnmatch
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from vaezoo.errors import SpecError, TrainingError, VaezooError
from vaezoo.nn.vae import VAE, Output
from vaezoo.training.objective.adversary import Adversary, balance, last_weight
from vaezoo.training.objective.discriminator import DISCRIMINATORS
from vaezoo.training.objective.losses import LOSSES
from vaezoo.training.objective.regularizers import REGULARIZERS
from vaezoo.training.recipe_schema import DiscriminatorConfig, LossTerm, Recipe

Scalars = dict[str, Tensor]


class WeightedLosses(nn.ModuleList):
    """Losses or regularizers with their names and weights; the second of the same kind is named `kind_2`.

    Args:
        terms: Kind, weight and arguments of each module.
        table: Classes of the modules by kind.
        *arguments: Further arguments of each class.
    """

    def __init__(self, terms: Sequence[LossTerm], table: Mapping[str, type[nn.Module]], *arguments: object) -> None:
        super().__init__(table[term.kind](*arguments, **term.arguments) for term in terms)
        kinds = [term.kind for term in terms]
        times = [kinds[: i + 1].count(kind) for i, kind in enumerate(kinds)]
        self.names = [kind if n == 1 else f"{kind}_{n}" for kind, n in zip(kinds, times, strict=True)]
        self.weights = dict(zip(self.names, (term.weight for term in terms), strict=True))

    def losses(self, *arguments: object) -> Scalars:
        """Compute the unweighted loss of each module, by name."""
        return {name: module(*arguments) for name, module in zip(self.names, self, strict=True)}

    def total(self, losses: Scalars) -> Tensor:
        """Compute the weighted sum of at least one loss."""
        return functools.reduce(torch.add, (self.weights[name] * loss for name, loss in losses.items()))


class Task(nn.Module):
    """A VAE with its losses, its regularizers and, if the recipe has one, its discriminator.

    Args:
        vae: Network in float32.
        recipe: Losses, regularizers, discriminator, and the precision of the forward pass.
    """

    def __init__(self, vae: VAE, recipe: Recipe) -> None:
        super().__init__()
        self.vae = vae
        self.losses = WeightedLosses(recipe.losses, LOSSES)
        self.regularizers = WeightedLosses(recipe.regularizers, REGULARIZERS, vae.latent_channels)
        self.adversary = _adversary(recipe.discriminator) if recipe.discriminator else None
        self.low_precision = recipe.precision == "bf16"

    def forward(self, phase: str, *arguments: object) -> Scalars:
        """Call `vae_losses` or `discriminator_losses`.

        Args:
            phase: "vae" or "discriminator".
            *arguments: Arguments of that method.
        """
        phases: dict[str, Callable[..., Scalars]] = {
            "vae": self.vae_losses,
            "discriminator": self.discriminator_losses,
        }
        return phases[phase](*arguments)

    def vae_losses(self, images: Tensor, noise: Tensor, step: int, draw: torch.Generator) -> Scalars:
        """Compute the losses of the VAE.

        Args:
            images: Tensor of shape (B, 3, H, W), float32 in [-1, 1].
            noise: Standard normal noise of the shape of the latents, with which the posterior is sampled.
            step: Number of updates of the VAE so far.
            draw: Generator of the regularizers, in the same state in all processes.

        Returns:
            `loss`, the total with a gradient; without a gradient, the unweighted losses by name and `reconstruction`,
            float32.
        """
        out = self.reconstruct(images, noise)
        losses = self.losses.losses(out, images)
        with self.autocast(images):
            extra = self.regularizers.losses(self.vae, out, images, draw)
        reconstruction = self.losses.total(losses)
        total = reconstruction + self._regularization(reconstruction, extra)
        parts = {**losses, **extra}
        if self.adversary and self.adversary.plays(step):
            with self.autocast(images):
                parts["adversarial"] = self.adversary.fool(out.reconstruction)
            parts["adversarial_weight"] = self._adversarial_weight(self.adversary, reconstruction, parts["adversarial"])
            total = total + parts["adversarial_weight"] * parts["adversarial"]
        parts = {name: part.detach() for name, part in parts.items()}
        return {"loss": total, **parts, "reconstruction": out.reconstruction.detach()}

    def discriminator_losses(self, images: Tensor, reconstruction: Tensor) -> Scalars:
        """Compute the losses of the discriminator, as `Adversary.forward` does; the VAE gets no gradient."""
        if self.adversary is None:
            raise TrainingError("discriminator_losses: the recipe has no discriminator; add one")
        with self.autocast(images):
            return self.adversary(images, reconstruction)

    def autocast(self, images: Tensor) -> torch.autocast:
        """Create the autocast context of a forward pass in the recipe's precision."""
        return torch.autocast(images.device.type, torch.bfloat16, enabled=self.low_precision)

    def _regularization(self, reconstruction: Tensor, extra: Scalars) -> Tensor | float:
        total: Tensor | float = 0.0
        for name, regularizer in zip(self.regularizers.names, self.regularizers, strict=True):
            weight: Tensor | float = self.regularizers.weights[name]
            if regularizer.adaptive:
                limit = cast(float, regularizer.limit)  # a ModuleList yields modules without a type of their own
                weight = weight * balance(reconstruction, extra[name], last_weight(self.vae.encoder), limit)
            total = total + weight * extra[name]
        return total

    def _adversarial_weight(self, adversary: Adversary, reconstruction: Tensor, adversarial: Tensor) -> Tensor:
        weight = reconstruction.new_tensor(adversary.weight)
        if not adversary.adaptive:
            return weight
        return weight * balance(reconstruction, adversarial, last_weight(self.vae.decoder), adversary.limit)

    def reconstruct(self, images: Tensor, noise: Tensor) -> Output:
        """Encode, sample with the given noise and decode, in the recipe's precision; the results are float32."""
        with self.autocast(images):
            posterior = self.vae.encode(images)
            posterior = type(posterior)(posterior.moments.float())
            latents = posterior.mean + posterior.std * noise
            reconstruction = self.vae.decode(latents).float()
        return Output(reconstruction, posterior, latents)


def check_discriminator(task: Task, recipe: Recipe) -> None:
    """Check that the discriminator can be trained, because its first step may be hours away.

    Raises:
        SpecError: If it cannot take the smallest crops, or its weight is adaptive and the last layer is not trained.
    """
    adversary = task.adversary
    if adversary is None or recipe.discriminator is None:
        return
    if adversary.adaptive and not last_weight(task.vae.decoder).requires_grad:
        raise SpecError("discriminator.adaptive: compares gradients at the decoder's last layer, which is not trained")
    size = min(recipe.data.sizes)
    try:
        with torch.no_grad():
            adversary.discriminator(torch.zeros(1, 3, size, size, device=task.vae.device))
    except RuntimeError as error:
        raise SpecError(f"discriminator {recipe.discriminator.kind}: takes no crops of {size} ({error})") from error


def choose_trained(vae: VAE, train: str | tuple[str, ...]) -> int:
    """Freeze all parameters that are not trained.

    Args:
        vae: Network, changed in place.
        train: "all", "encoder", "decoder", or patterns of parameter names such as "decoder.*".

    Returns:
        Number of trained parameters.

    Raises:
        SpecError: If a pattern matches no parameter.
    """
    patterns = train if isinstance(train, tuple) else ("*" if train == "all" else f"{train}.*",)
    names = [name for name, _ in vae.named_parameters()]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise SpecError(
                f"train: {pattern!r} fits no parameter of {vae.spec.label}; they are {names[0]}, …, {names[-1]}"
            )
    for name, parameter in vae.named_parameters():
        parameter.requires_grad_(any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))
    return sum(p.numel() for p in vae.parameters() if p.requires_grad)


def _adversary(settings: DiscriminatorConfig) -> Adversary:
    try:
        return Adversary(DISCRIMINATORS[settings.kind](**settings.arguments), **settings.adversary)
    except ValueError as error:
        if isinstance(error, VaezooError):
            raise
        raise SpecError(f"discriminator: {error}") from error
