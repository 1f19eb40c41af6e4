"""What is trained, as one module: its forward returns the losses, so that DistributedDataParallel sees every call."""

import fnmatch
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vaezoo.errors import SpecError, VaezooError
from vaezoo.nn.vae import VAE, Output
from vaezoo.training.objective.adversary import Adversary, balance, last_weight
from vaezoo.training.objective.discriminator import DISCRIMINATORS
from vaezoo.training.objective.losses import LOSSES
from vaezoo.training.objective.regularizers import REGULARIZERS
from vaezoo.training.recipe_schema import DiscriminatorConfig, LossTerm, Recipe

Scalars = dict[str, Tensor]


class Objective(nn.ModuleList):
    """Modules that give losses, with their weights and names; where a kind stands twice, the second is `kind_2`."""

    def __init__(self, parts: Sequence[LossTerm], table: Mapping[str, type[nn.Module]], *arguments: object) -> None:
        super().__init__(table[part.kind](*arguments, **part.arguments) for part in parts)
        kinds = [part.kind for part in parts]
        times = [kinds[: i + 1].count(kind) for i, kind in enumerate(kinds)]
        self.names = [kind if n == 1 else f"{kind}_{n}" for kind, n in zip(kinds, times, strict=True)]
        self.weights = dict(zip(self.names, (part.weight for part in parts), strict=True))

    def losses(self, *arguments: object) -> Scalars:
        """What each module gives for these arguments, by name."""
        return {name: module(*arguments) for name, module in zip(self.names, self, strict=True)}

    def total(self, losses: Scalars) -> Tensor | float:
        """Their weighted sum."""
        return sum(self.weights[name] * loss for name, loss in losses.items())


class Task(nn.Module):
    """A VAE, its losses and regularisers, and the discriminator it plays against, if any.

    Args:
        vae: In float32.
        recipe: What it is trained for, and the precision of the forward pass.
    """

    def __init__(self, vae: VAE, recipe: Recipe) -> None:
        super().__init__()
        self.vae = vae
        self.losses = Objective(recipe.losses, LOSSES)
        self.regularizers = Objective(recipe.regularizers, REGULARIZERS, vae.latent_channels)
        self.adversary = _adversary(recipe.discriminator) if recipe.discriminator else None
        self.low_precision = recipe.precision == "bf16"

    def forward(self, phase: str, *arguments: object) -> Scalars:
        """`vae_losses` or `discriminator_losses`, by the `phase`: "vae" or "discriminator"."""
        return {"vae": self.vae_losses, "discriminator": self.discriminator_losses}[phase](*arguments)

    def vae_losses(self, images: Tensor, noise: Tensor, step: int, draw: torch.Generator) -> Scalars:
        """What the VAE is to lower.

        Args:
            images: Of shape (B, 3, H, W), float32 in [-1, 1].
            noise: Of the shape of the latents, standard normal: the draw of the posterior.
            step: Updates of the VAE so far.
            draw: Where regularisers draw from, in the same state on all ranks.

        Returns:
            `loss`, a scalar with a gradient; its parts by name, before their weights; `reconstruction`, float32.
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
            parts["adversarial_weight"] = self._adversarial_weight(reconstruction, parts["adversarial"])
            total = total + parts["adversarial_weight"] * parts["adversarial"]
        parts = {name: part.detach() for name, part in parts.items()}
        return {"loss": total, **parts, "reconstruction": out.reconstruction.detach()}

    def discriminator_losses(self, images: Tensor, reconstruction: Tensor) -> Scalars:
        """What the discriminator is to lower, as `Adversary` says; the VAE has no part in it."""
        with self.autocast(images):
            return self.adversary(images, reconstruction)

    def autocast(self, images: Tensor) -> torch.autocast:
        """The recipe's precision for a forward pass."""
        return torch.autocast(images.device.type, torch.bfloat16, enabled=self.low_precision)

    def _regularization(self, reconstruction: Tensor, extra: Scalars) -> Tensor | float:
        total: Tensor | float = 0.0
        for name, regularizer in zip(self.regularizers.names, self.regularizers, strict=True):
            weight = self.regularizers.weights[name]
            if regularizer.adaptive:
                last = last_weight(self.vae.encoder)
                weight = weight * balance(reconstruction, extra[name], last, regularizer.limit)
            total = total + weight * extra[name]
        return total

    def _adversarial_weight(self, reconstruction: Tensor, adversarial: Tensor) -> Tensor:
        weight = reconstruction.new_tensor(self.adversary.weight)
        if not self.adversary.adaptive:
            return weight
        return weight * balance(reconstruction, adversarial, last_weight(self.vae.decoder), self.adversary.limit)

    def reconstruct(self, images: Tensor, noise: Tensor) -> Output:
        """One pass through the VAE in the recipe's precision; everything in the result is float32."""
        with self.autocast(images):
            posterior = self.vae.encode(images)
            posterior = type(posterior)(posterior.moments.float())
            latents = posterior.mean + posterior.std * noise  # the reparameterisation trick, with noise of our choice
            reconstruction = self.vae.decode(latents).float()
        return Output(reconstruction, posterior, latents)


def check_game(task: Task, recipe: Recipe) -> None:
    """Raise `SpecError` for what the discriminator would stumble over at its first step, which may be hours away."""
    adversary = task.adversary
    if adversary is None:
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
    """Freeze all that is not trained; returns the number of parameters that are.

    Args:
        vae: The network.
        train: `all`, `encoder`, `decoder`, or patterns of the paths of parameters.

    Raises:
        SpecError: If a pattern fits no parameter.
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
