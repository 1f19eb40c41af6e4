"""The spec of a network: its YAML file, checked, with `shared` merged into the blocks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Annotated, Any

from vaezoo.specs.check import REQUIRED, Field, check_keys, fields_of, pick
from vaezoo.specs.faults import FAILED, Faults, unknown
from vaezoo.specs.hashing import json_hash
from vaezoo.specs.marks import Between, Items, Kinds
from vaezoo.specs.tree import Location, Node

MAX_ROWS = 64
HALVES = ("encoder", "decoder")


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """The images that a network encodes.

    Args:
        channels: Channels of an image, 1 to 64; 3 for RGB.
    """

    channels: Annotated[int, Between(1, 64)]


@dataclass(frozen=True, kw_only=True)
class LatentSpec:
    """The latent space.

    Args:
        kind: Distribution over latents, a key of `vaezoo.nn.distributions.LATENTS`.
        channels: Channels of a latent, 1 to 16,384.
    """

    kind: str
    channels: Annotated[int, Between(1, 16_384)]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The implementation that the tests compare a network with.

    Args:
        diffusers: Class of diffusers.
        second: An independent implementation in the tests.
        because: Why diffusers has no such class, or how its class is adapted.
    """

    diffusers: str | None = None
    second: str | None = None
    because: str | None = None


@dataclass(frozen=True, kw_only=True)
class Expect:
    """Properties that a published network states and the tests verify.

    Args:
        params: Parameters of encoder and decoder together.
        downscale: Pixels per latent pixel and side.
        proof: The implementation that the tests compare the network with.
    """

    params: int | None = None
    downscale: int | None = None
    proof: Proof | None = None


@dataclass(frozen=True)
class BlockSpec:
    """One block of an encoder or decoder.

    Args:
        block: Name of the block, a key of `vaezoo.nn.blocks.BLOCKS`.
        arguments: The arguments of the block's class that differ from its defaults.
        location: Location of the row in its file.
    """

    block: str
    arguments: dict[str, Any]
    location: Location = field(compare=False, default=Location("spec"))


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A complete description of a network; `docs/configs.md` explains each key.

    Specs are equal if they describe the same network, whatever their name and summary.

    Args:
        image: The images.
        latent: The latent space.
        encoder: Blocks of the encoder, in forward order.
        decoder: Blocks of the decoder, in forward order.
        summary: One sentence about the network.
        expect: Properties that the network states of itself.
        name: Name of the network; `None` if it has none.

    Examples:
        >>> import vaezoo
        >>> spec = vaezoo.get_spec("vae_f8_z4_micro")
        >>> spec.latent.channels
        4
        >>> spec.encoder[0].block
        'conv'
        >>> spec.hash[:12]
        '66de7e0af41c'
    """

    image: ImageSpec
    latent: LatentSpec
    encoder: tuple[BlockSpec, ...]
    decoder: tuple[BlockSpec, ...]
    summary: str = field(compare=False, default="")
    expect: Expect | None = field(compare=False, default=None)
    name: str | None = field(compare=False, default=None)

    def __hash__(self) -> int:
        return hash(self.hash)

    @property
    def label(self) -> str:
        """The name for messages: `name`, or "this network"."""
        return self.name or "this network"

    def to_dict(self) -> dict[str, Any]:
        """Return the network as plain data: `image`, `latent`, `encoder` and `decoder`, with nothing shared."""
        return {
            "image": _changed(self.image),
            "latent": _changed(self.latent),
            **{half: [{"block": r.block, **r.arguments} for r in getattr(self, half)] for half in HALVES},
        }

    @cached_property
    def hash(self) -> str:
        """Spec hash, version 1: SHA-256 of the canonical JSON of `to_dict()`, 64 hexadecimal digits."""
        return json_hash(self.to_dict())


def _changed(spec: ImageSpec | LatentSpec) -> dict[str, Any]:
    """The values that differ from their default."""
    return {f.name: value for f in fields(spec) if (value := getattr(spec, f.name)) != f.default}


def check_model(
    tree: Node, blocks: Mapping[str, type], latents: Mapping[str, type], name: str | None = None
) -> ModelSpec:
    """Build the spec of a network from a tree.

    Args:
        tree: The content of a YAML or JSON file.
        blocks: Block name to class; the class's keyword-only arguments are the keys of its rows.
        latents: Latent kind to class.
        name: Name of the network.

    Raises:
        SpecError: With every fault of the tree and its location.
    """
    rows = Field(Annotated[tuple[Node, ...], Items(1, MAX_ROWS)], REQUIRED)
    keys = {
        "summary": Field(str, ""),
        "image": Field(ImageSpec, REQUIRED),
        "latent": Field(Annotated[LatentSpec, Kinds(latents)], REQUIRED),
        "shared": Field(dict[str, Node], {}),
        "encoder": rows,
        "decoder": rows,
        "expect": Field(Expect, None),
    }
    faults = Faults()
    values = check_keys(tree, keys, "a network", "", faults)
    shared = _shared(tree, values.pop("shared", {}), blocks, faults)
    for half in HALVES:
        if values.get(half, FAILED) is not FAILED:
            values[half] = tuple(_check_rows(values[half], half, shared, blocks, faults))
    faults.check()
    return ModelSpec(**values, name=name)


def _shared(tree: Node, shared: Any, blocks: Mapping[str, type], faults: Faults) -> dict[str, Node]:
    """The shared keys that a block of the network has; the others are faults."""
    if shared is FAILED:
        return {}
    known = {key for block in _blocks_used(tree, blocks) for key in fields_of(block)}
    for key in shared:
        if key not in known:
            location = tree.value["shared"].keys[key]
            faults.add(location, f"shared.{key}", f"fits no row; {unknown(key, sorted(known), 'key')}")
    return {key: child for key, child in shared.items() if key in known}


def _blocks_used(tree: Node, blocks: Mapping[str, type]) -> list[type]:
    return [blocks[name] for name in block_names(tree) if name in blocks]


def block_names(tree: Node) -> list[str]:
    """Return the names of the blocks in a tree that has not been checked."""
    halves = [tree.at(half).value for half in HALVES]
    rows = [row.value for half in halves if isinstance(half, list) for row in half]
    names = [row["block"].value for row in rows if isinstance(row, dict) and "block" in row]
    return [name for name in names if isinstance(name, str)]


def _check_rows(
    rows: tuple[Node, ...], half: str, shared: dict[str, Node], blocks: Mapping[str, type], faults: Faults
) -> Iterator[BlockSpec]:
    for index, node in enumerate(rows):
        path = f"{half}[{index}]"
        name = pick(node, Kinds(blocks, "block"), path, faults)
        if name is FAILED:
            continue
        known = fields_of(blocks[name])
        keys = known | {"block": Field(str, REQUIRED)}
        values = check_keys(node, keys, blocks[name].__name__, path, faults, shared)
        arguments = {key: values[key] for key, f in known.items() if key in values and values[key] != f.default}
        yield BlockSpec(name, arguments, node.location)
