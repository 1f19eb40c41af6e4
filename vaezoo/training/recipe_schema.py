"""The schema of a training recipe: these signatures are the keys of its YAML file."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from vaezoo.data.settings import DataConfig
from vaezoo.specs.hashing import json_hash
from vaezoo.specs.marks import Between, Inlined, Items, Kinds
from vaezoo.training.objective.adversary import Adversary
from vaezoo.training.objective.discriminator import DISCRIMINATORS
from vaezoo.training.objective.losses import LOSSES
from vaezoo.training.objective.regularizers import REGULARIZERS
from vaezoo.training.optim import OptimizerConfig, ScheduleConfig

Count = Between(1, 1_000_000_000)
Every = Between(0, 1_000_000_000)  # steps; 0 means never
Share = Between(0.0, 1.0)
BOOKKEEPING = ("summary", "keep", "log_every", "grid_every", "checkpoint_every")  # no weight depends on these
STARTS = {"pretrained": False, "start": "random", "grow": None}  # at most one of them may differ from this


@dataclass(frozen=True, kw_only=True)
class EmaConfig:
    """The exponential moving average of the weights, which is what a run publishes.

    After `step` updates the old average counts 1 - (1 + step / gamma) ** -power, but at most `decay`.

    Args:
        decay: Largest weight of the old average.
        gamma: Time scale of the warm-up, in steps.
        power: Exponent of the warm-up.
    """

    decay: Annotated[float, Share] = 0.999
    gamma: Annotated[float, Between(1e-3, 1e9)] = 1.0
    power: Annotated[float, Between(0.01, 10.0)] = 0.75


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Photos on which a run is validated, by the protocol of `vaezoo evaluate`.

    Args:
        root: Folder of photos; null means the sample photos of the package.
        size: Side of the images in pixels.
        every: Steps between two validations; 0 validates at the end only.
    """

    root: str | None = None
    size: Annotated[int, Between(8, 4096)] = 256
    every: Annotated[int, Every] = 0


@dataclass(frozen=True, kw_only=True)
class LossTerm:
    """A loss or regularizer of the objective.

    Args:
        kind: A key of `LOSSES` or `REGULARIZERS`.
        weight: Its weight in the sum.
        arguments: Keyword arguments of its class.
    """

    kind: str
    weight: Annotated[float, Between(0.0, 1e9)]
    arguments: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the term as in a recipe file."""
        return {"kind": self.kind, "weight": self.weight, **_plain(self.arguments)}


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """A discriminator and its training.

    Args:
        kind: A key of `DISCRIMINATORS`.
        arguments: Keyword arguments of its class.
        adversary: Keyword arguments of `Adversary`: the adversarial loss, its weight and its start.
        optimizer: Optimizer of the discriminator; its learning rate follows the recipe's schedule.
    """

    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)
    adversary: Annotated[dict[str, Any], Inlined(Adversary)]
    optimizer: OptimizerConfig

    def to_dict(self) -> dict[str, Any]:
        """Return the discriminator as in a recipe file."""
        return {"kind": self.kind, **_plain({**self.arguments, **self.adversary}), "optimizer": _plain(self.optimizer)}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A complete training recipe; `docs/training.md` explains each key.

    Args:
        summary: One sentence about the recipe.
        network: Name of a network, as for `vaezoo.create`.
        pretrained: Whether to start from the weights that `network` names; or the weights file to start from.
        start: Initialization of fresh weights: `random`, or `resampler` (see `vaezoo.warmstart.as_resampler`).
        grow: Name of a narrower network whose weights are grown into this one (see `vaezoo.warmstart.grow`).
        overrides: Changes to the network, by path.
        steps: Updates of the weights.
        seed: Seed of all random numbers.
        batch_size: Crops per process and forward pass.
        accumulate: Forward passes per step.
        precision: Precision of the forward pass; weights, optimizer and losses are always float32.
        channels_last: Whether weights and images are in channels-last memory format.
        train: Parameters that are trained: all, one half, or patterns of paths such as `decoder.*`.
        data: Training photos.
        losses: Reconstruction losses.
        regularizers: Regularizers of latents and networks.
        discriminator: Adversarial training; null means none.
        optimizer: Optimizer of the VAE.
        schedule: Learning rate schedule.
        ema: Exponential moving average of the weights.
        clip: Largest norm of the gradient; null does not clip.
        bad_steps: Consecutive steps without a finite gradient after which the run stops with an error.
        validation: Photos on which the run is validated.
        checkpoint_every: Steps between two checkpoints.
        keep: Number of last checkpoints to keep, beside the best.
        log_every: Steps between two lines of the log.
        grid_every: Steps between two pictures of reconstructions; 0 draws none.
    """

    summary: str = ""
    network: str
    pretrained: bool | str = False
    start: Literal["random", "resampler"] = "random"
    grow: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    steps: Annotated[int, Count]
    seed: Annotated[int, Between(0, 2**32)] = 0
    batch_size: Annotated[int, Between(1, 65_536)]
    accumulate: Annotated[int, Between(1, 65_536)] = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    train: Literal["all", "encoder", "decoder"] | tuple[str, ...] = "all"
    data: DataConfig
    losses: Annotated[tuple[Annotated[LossTerm, Kinds(LOSSES)], ...], Items(1)]
    regularizers: tuple[Annotated[LossTerm, Kinds(REGULARIZERS)], ...] = ()
    discriminator: Annotated[DiscriminatorConfig, Kinds(DISCRIMINATORS)] | None = None
    optimizer: OptimizerConfig
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema: EmaConfig = EmaConfig()
    clip: Annotated[float, Between(0.0, 1e9)] | None = 1.0
    bad_steps: Annotated[int, Count] = 20
    validation: ValidationConfig = ValidationConfig()
    checkpoint_every: Annotated[int, Count] = 1000
    keep: Annotated[int, Between(1, 1_000_000)] = 2
    log_every: Annotated[int, Count] = 10
    grid_every: Annotated[int, Every] = 0

    def find_faults(self) -> Iterator[tuple[str, str]]:
        """Yield the faults between keys."""
        if isinstance(self.pretrained, str) and not self.pretrained.startswith("file:"):
            yield (
                "pretrained",
                "expected true, false, or a file as in file:weights.safetensors; network names all other weights",
            )
        starts = [key for key, default in STARTS.items() if getattr(self, key) != default]
        if len(starts) > 1:
            yield starts[1], f"the recipe starts by {starts[0]}; leave one of them out"

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain data with every key, which reads back as the same recipe."""
        return {key: value for key, value in _plain(self).items() if value != {}}

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all keys that the weights depend on, 64 hexadecimal digits."""
        return json_hash({key: value for key, value in self.to_dict().items() if key not in BOOKKEEPING})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, LossTerm | DiscriminatorConfig):
        return value.to_dict()
    if is_dataclass(value):
        # a key that was added later is left out while it has its default, so that hashes of recipes stay the same
        items = [(f.name, getattr(value, f.name), f.metadata.get("omit", value)) for f in fields(value)]
        return {name: _plain(item) for name, item, omitted in items if item is not omitted}
    return value
