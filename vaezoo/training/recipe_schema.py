"""A recipe: how a model is trained. These signatures are the schema of its YAML file; `recipes.py` reads one."""

import hashlib
import json
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal

from timm.optim import list_optimizers

from vaezoo.data.settings import DataConfig
from vaezoo.specs.check import Between

OPTIMIZERS = dict.fromkeys(list_optimizers())
Count = Between(1, 1_000_000_000)
Every = Between(0, 1_000_000_000)  # steps; 0 is never
Share = Between(0.0, 1.0)
BOOKKEEPING = ("summary", "keep", "log_every", "grid_every", "checkpoint_every")  # what no weight depends on


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """An optimiser of timm.

    Args:
        name: As timm calls it: adamw, muon, lion, …
        lr: Learning rate after warm-up.
        betas: Of optimisers that have them; null is the optimiser's own.
        momentum: Of optimisers that have it; null is the optimiser's own.
        eps: Of optimisers that have it; null is the optimiser's own.
        weight_decay: On weights of two and more dimensions; norms and biases are left alone.
    """

    name: Annotated[str, OPTIMIZERS]
    lr: Annotated[float, Between(0.0, 100.0)]
    betas: tuple[Annotated[float, Share], ...] | None = None
    momentum: Annotated[float, Share] | None = None
    eps: Annotated[float, Between(0.0, 1.0)] | None = None
    weight_decay: Annotated[float, Between(0.0, 10.0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The learning rate over the steps, by timm: a linear `warmup` of so many steps, then down to `end` times lr."""

    name: Literal["cosine", "tanh", "poly", "constant"] = "cosine"
    warmup: Annotated[int, Every] = 0
    end: Annotated[float, Share] = 0.0


@dataclass(frozen=True, kw_only=True)
class EmaConfig:
    """The average of the weights that is published: 1 - (1 + step / gamma) ** -power of the old, at most `decay`."""

    decay: Annotated[float, Share] = 0.999
    gamma: Annotated[float, Between(1e-3, 1e9)] = 1.0
    power: Annotated[float, Between(0.01, 10.0)] = 0.75


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Photos by which a run is judged, by the protocol of `vaezoo evaluate`.

    Args:
        root: Folder of photos; null is the sample photos of the package.
        size: Pixels per side.
        every: Steps between two validations; 0 is at the end only.
    """

    root: str | None = None
    size: Annotated[int, Between(8, 4096)] = 256
    every: Annotated[int, Every] = 0


@dataclass(frozen=True)
class LossTerm:
    """A loss or regulariser of the objective: its `kind`, its `weight`, and the arguments of its class."""

    kind: str
    weight: float
    arguments: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As a recipe writes it."""
        return {"kind": self.kind, "weight": self.weight, **_plain_values(self.arguments)}


@dataclass(frozen=True)
class DiscriminatorConfig:
    """A discriminator of a `kind` with the `arguments` of its class, the `game` it plays (the keys of
    `adversary.Adversary`), and its `optimizer`, whose learning rate follows the recipe's schedule."""

    kind: str
    arguments: dict[str, Any]
    game: dict[str, Any]
    optimizer: OptimizerConfig

    def to_dict(self) -> dict[str, Any]:
        """As a recipe writes it."""
        own = _plain_values({**self.arguments, **self.game})
        return {"kind": self.kind, **own, "optimizer": _plain(self.optimizer)}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained, complete; docs/training.md explains each key.

    Args:
        summary: One sentence for people.
        network: What `vaezoo.create` takes.
        pretrained: Whether to start from the weights that `network` names; or the weights file to start from.
        start: What fresh weights are: `random`, or a `resampler` (`nn/start.py`), with which minutes are enough.
        grow: A narrower network, as `network` names one, whose weights are grown into this one (`weights/grow.py`).
        overrides: Changes to the network.
        steps: Updates of the weights.
        seed: Of everything random.
        batch_size: Crops of each process and forward pass.
        accumulate: Forward passes of one step.
        precision: Of the forward pass; weights, optimiser and losses are float32 always.
        channels_last: Memory format of weights and images.
        train: What is trained: all, one half, or patterns of paths such as `decoder.*` or `*.conv1.weight`.
        clip: Largest norm of the gradient; null does not clip.
        bad_steps: Steps in a row without a finite gradient after which the run gives up.
        checkpoint_every: Steps between two checkpoints.
        keep: How many of the last checkpoints stay, beside the best.
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
    losses: tuple[LossTerm, ...]
    regularizers: tuple[LossTerm, ...] = ()
    discriminator: DiscriminatorConfig | None = None
    optimizer: OptimizerConfig
    schedule: ScheduleConfig = ScheduleConfig()
    ema: EmaConfig = EmaConfig()
    clip: Annotated[float, Between(0.0, 1e9)] | None = 1.0
    bad_steps: Annotated[int, Count] = 20
    validation: ValidationConfig = ValidationConfig()
    checkpoint_every: Annotated[int, Count] = 1000
    keep: Annotated[int, Between(1, 1_000_000)] = 2
    log_every: Annotated[int, Count] = 10
    grid_every: Annotated[int, Every] = 0

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain data, every key written out; which reads back as the same recipe."""
        plain = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {key: value for key, value in plain.items() if value != {}}

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all keys that the weights depend on, 64 hexadecimal digits."""
        kept = {key: value for key, value in self.to_dict().items() if key not in BOOKKEEPING}
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _plain_values(data: dict[str, Any]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in data.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, LossTerm | DiscriminatorConfig):
        return value.to_dict()
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value
