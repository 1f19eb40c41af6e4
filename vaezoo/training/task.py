"""What is trained, as one module: its forward returns the losses, so that DistributedDataParallel sees every call."""

import fnmatch
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaezoo.errors import SpecError
from vaezoo.nn.vae import VAE, Output
from vaezoo.training.losses import LOSSES
from vaezoo.training.recipe import Part, Recipe


class Objective(nn.ModuleList):
    """Losses with their weights; where a kind stands twice, its second name is `kind_2`."""

    def __init__(self, parts: Sequence[Part], table: dict[str, type[nn.Module]]) -> None:
        super().__init__(table[part.kind](**part.arguments) for part in parts)
        kinds = [part.kind for part in parts]
        times = [kinds[: i + 1].count(kind) for i, kind in enumerate(kinds)]
        self.names = [kind if n == 1 else f"{kind}_{n}" for kind, n in zip(kinds, times, strict=True)]
        self.weights = [part.weight for part in parts]


class Task(nn.Module):
    """A VAE and its objective.

    Args:
        vae: In float32.
        recipe: Losses and precision.
    """

    def __init__(self, vae: VAE, recipe: Recipe) -> None:
        super().__init__()
        self.vae = vae
        self.losses = Objective(recipe.losses, LOSSES)
        self.low_precision = recipe.precision == "bf16"

    def forward(self, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """The losses of a batch.

        Args:
            images: Of shape (B, 3, H, W), float32 in [-1, 1].
            noise: Of the shape of the latents, standard normal: the draw of the posterior.

        Returns:
            `loss`, a scalar with a gradient; its parts by name, before their weights; `reconstruction`, float32.
        """
        out = self.reconstruct(images, noise)
        parts = {}
        with torch.autocast(images.device.type, enabled=False):
            for name, loss in zip(self.losses.names, self.losses, strict=True):
                parts[name] = loss(out, images)
            total = sum(
                weight * parts[name] for name, weight in zip(self.losses.names, self.losses.weights, strict=True)
            )
        return {
            "loss": total,
            **{k: v.detach() for k, v in parts.items()},
            "reconstruction": out.reconstruction.detach(),
        }

    def reconstruct(self, images: Tensor, noise: Tensor) -> Output:
        """One pass through the VAE in the recipe's precision; everything in the result is float32."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.low_precision):
            posterior = self.vae.encode(images)
            posterior = type(posterior)(posterior.moments.float())
            latents = posterior.mean + posterior.std * noise  # the reparameterisation trick, with noise of our choice
            reconstruction = self.vae.decode(latents).float()
        return Output(reconstruction, posterior, latents)


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
