"""`describe`: the rows and costs of a network, and the weights for it."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from vaezoo.analysis.costs import Costs, costs
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.specs.catalog import files
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.names import parse_name
from vaezoo.specs.source import WeightsSource
from vaezoo.weights.hub import Hub
from vaezoo.weights.records import NamedWeights, read_records
from vaezoo.zoo.find import Found, find
from vaezoo.zoo.spec_file import read_spec


@dataclass(frozen=True, repr=False)
class Description:
    """A network and its weights.

    Args:
        name: Name of the network.
        spec: The network.
        costs: Shapes, parameters and GMACs of its rows at one resolution.
        weights: The records of weights for this network.
        source: Where the weights of the described model are from; `None` for a network alone.
    """

    name: str
    spec: ModelSpec
    costs: Costs
    weights: tuple[NamedWeights, ...]
    source: WeightsSource | None = None

    def __repr__(self) -> str:
        costs, latent = self.costs, self.spec.latent
        weights = ", ".join(tagged.tag for tagged in self.weights)
        return (
            f"Description({self.name}: {latent.channels} latent channels, {costs.params():,} parameters, "
            f"{costs.gmacs():.2f} GMACs at {costs.height}x{costs.width}, weights: {weights or 'none'})"
        )

    def to_dict(self) -> dict[str, Any]:
        """The description as plain data, for JSON."""
        facts: dict[str, Any] = {"name": self.name, "summary": self.spec.summary, "spec_hash": self.spec.hash}
        if self.source:
            facts["source"] = self.source.to_dict()
        weights = {tagged.tag: asdict(tagged.record) for tagged in self.weights}
        return {**facts, "latent_channels": self.spec.latent.channels, **self.costs.to_dict(), "weights": weights}


def describe(name: str | ModelSpec | VAE, height: int = 256, width: int | None = None) -> Description:
    """Describe a network: shapes, parameters and GMACs of its rows, the weights for it, and where they are from.

    Args:
        name: A name as for `create`, except `file:`; a spec; or a model.
        height: Height of the images that shapes and GMACs are for, in pixels; a multiple of the network's
            `size_multiple`.
        width: Width of the images in pixels, likewise; `None` means `height`.

    Raises:
        UnknownNameError: If there is no such model.
        InputError: If a side is not a multiple of `size_multiple`.

    Examples:
        >>> import vaezoo
        >>> description = vaezoo.describe("vae_f8_z4_micro", 64)
        >>> description
        Description(vae_f8_z4_micro: 4 latent channels, 433,767 parameters, 0.16 GMACs at 64x64, weights: photos_v1)
        >>> description.costs.rows[-1].shape
        (3, 64, 64)
        >>> vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
        >>> vaezoo.describe(vae).source.network
        'vae_f8_z4_micro'
    """
    if isinstance(name, nn.Module):
        vae = unwrapped(name)
        found = Found(vae.spec, vae.source)
    else:
        found = find(name if isinstance(name, ModelSpec) else parse_name(name), False, Hub())
    spec = found.spec
    return Description(spec.label, spec, costs(spec, height, width), _weights(spec), found.source)


def _weights(spec: ModelSpec) -> tuple[NamedWeights, ...]:
    """The records of a network of the zoo; another network of the same name has none."""
    name = spec.name or ""
    file = files("models").get(name)
    if file is None or read_spec(file).hash != spec.hash:
        return ()
    return tuple(read_records(name).by_tag.values())
