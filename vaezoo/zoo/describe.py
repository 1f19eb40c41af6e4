"""What is known of a model: its rows and costs, its weights."""

from dataclasses import asdict, dataclass
from typing import Any

from vaezoo.analysis.costs import Costs, costs
from vaezoo.specs.catalog import files
from vaezoo.specs.model import ModelSpec
from vaezoo.weights.records import NamedWeights, read_records
from vaezoo.zoo.create import get_spec
from vaezoo.zoo.spec_file import read_spec


@dataclass(frozen=True)
class Description:
    """A network, what it costs at one resolution, and the weights there are for it."""

    name: str
    spec: ModelSpec
    costs: Costs
    weights: tuple[NamedWeights, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        weights = {tagged.tag: asdict(tagged.record) for tagged in self.weights}
        facts = {"name": self.name, "summary": self.spec.summary, "spec_hash": self.spec.hash}
        return {**facts, "latent_channels": self.spec.latent.channels, **self.costs.to_dict(), "weights": weights}


def describe(name: str | ModelSpec, height: int = 256, width: int | None = None) -> Description:
    """Shapes, parameters and GMACs of a network's rows at `height` x `width` pixels (default: square), and its weights.

    Args:
        name: As for `create`, but for `file:`; or a spec.
        height: Pixels, a multiple of the network's `size_multiple`.
        width: Pixels; None is `height`.

    Raises:
        UnknownNameError: If there is no such model.
        InputError: If a side is no multiple of `size_multiple`.
    """
    spec = name if isinstance(name, ModelSpec) else get_spec(name)
    return Description(spec.label, spec, costs(spec, height, width), _weights(spec))


def _weights(spec: ModelSpec) -> tuple[NamedWeights, ...]:
    """The records for a network of the zoo; another one of the same name has none."""
    file = files("models").get(spec.name or "")
    if file is None or read_spec(file).hash != spec.hash:
        return ()
    return tuple(read_records(spec.name).by_tag.values())
