"""The spec of a network: what its YAML says, checked, with `shared` merged into the rows."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from vaezoo.errors import SpecError
from vaezoo.specs.check import FAILED, Between, Faults, convert, fields_of, fill, missing, record, unknown
from vaezoo.specs.tree import Location, Node

MAX_ROWS = 64
HALVES = ("encoder", "decoder")


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """What goes in and comes out: `channels` per pixel."""

    channels: Annotated[int, Between(1, 64)]


@dataclass(frozen=True, kw_only=True)
class LatentSpec:
    """The bottleneck: its `kind` (a key of `vaezoo.nn.LATENTS`) and `channels`."""

    kind: str
    channels: Annotated[int, Between(1, 16_384)]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the tests compare a network with: a class of `diffusers`, or a `second` implementation.

    `because` says why there is no class, or what is done to it by hand.
    """

    diffusers: str | None = None
    second: str | None = None
    because: str | None = None


@dataclass(frozen=True, kw_only=True)
class Expect:
    """Facts that a published file promises of itself; a test holds it to them."""

    params: int | None = None
    downscale: int | None = None
    proof: Proof | None = None


@dataclass(frozen=True)
class BlockSpec:
    """One block: its name and the arguments that differ from the block's frozen defaults."""

    block: str
    arguments: dict[str, Any]
    location: Location = field(compare=False, default=Location("spec"))


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A network, ready to build: see `docs/configs.md` for the meaning of each part."""

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
        """The name, or words that stand for it in messages."""
        return self.name or "this network"

    def to_dict(self) -> dict[str, Any]:
        """The network as plain data: `image`, `latent`, `encoder`, `decoder`, every row complete in itself."""
        return {
            "image": _plain(self.image),
            "latent": _plain(self.latent),
            **{half: [{"block": r.block, **r.arguments} for r in getattr(self, half)] for half in HALVES},
        }

    @property
    def hash(self) -> str:
        """Spec hash, version 1: SHA-256 of the canonical JSON of `to_dict()`, 64 hexadecimal digits."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _plain(part: ImageSpec | LatentSpec) -> dict[str, Any]:
    """The keys of a part that differ from their frozen default."""
    return {f.name: value for f in fields(part) if (value := getattr(part, f.name)) != f.default}


_TOP = ("summary", "image", "latent", "shared", "encoder", "decoder", "expect")


def check_model(
    tree: Node, blocks: Mapping[str, type], latents: Mapping[str, type], name: str | None = None
) -> ModelSpec:
    """The spec that a tree describes.

    Args:
        tree: A network as YAML or JSON says it.
        blocks: Block name to class; the class's keyword-only arguments are the keys of its rows.
        latents: Latent kind to class.
        name: The network's name, if it has one.

    Raises:
        SpecError: With every fault of the tree, each with its location.
    """
    if not isinstance(tree.value, dict):
        raise SpecError(f"{tree.location}: a network is a mapping of {', '.join(_TOP)}")
    faults, parts = Faults(), tree.value
    for key, location in tree.keys.items():
        if key == "base":
            faults.add(location, key, "only ablation files have a base; a network's file is complete in itself")
        elif key not in _TOP:
            faults.add(location, key, unknown(key, _TOP, "key for a network"))
    if absent := [key for key in ("image", "latent", *HALVES) if key not in parts]:
        faults.add(tree.location, "", f"missing {', '.join(absent)}")
    image = record(parts["image"], ImageSpec, "image", faults) if "image" in parts else FAILED
    latent = _latent(parts["latent"], latents, faults) if "latent" in parts else FAILED
    shared = _shared(parts, blocks, faults)
    encoder, decoder = (_half(parts, half, shared, blocks, faults) for half in HALVES)
    summary = convert(parts["summary"], str, "summary", faults) if "summary" in parts else ""
    expect = record(parts["expect"], Expect, "expect", faults) if "expect" in parts else None
    faults.check()
    return ModelSpec(
        image=image, latent=latent, encoder=encoder, decoder=decoder, summary=summary, expect=expect, name=name
    )


def _latent(node: Node, latents: Mapping[str, type], faults: Faults) -> Any:
    latent = record(node, LatentSpec, "latent", faults)
    if latent is not FAILED:
        convert(node.value["kind"], Annotated[str, latents], "latent.kind", faults)
    return latent


def _shared(parts: dict[str, Node], blocks: Mapping[str, type], faults: Faults) -> dict[str, Node]:
    """The shared keys that fit a row; those that fit none are faults."""
    node = parts.get("shared")
    if node is None:
        return {}
    if not isinstance(node.value, dict):
        faults.add(node.location, "shared", "expected a mapping of keys that rows have")
        return {}
    known = {key for block in _blocks_used(parts, blocks) for key in fields_of(block)}
    for key, location in node.keys.items():
        if key not in known:
            faults.add(location, f"shared.{key}", f"fits no row; {unknown(key, sorted(known), 'key')}")
    return {key: child for key, child in node.value.items() if key in known}


def _blocks_used(parts: dict[str, Node], blocks: Mapping[str, type]) -> list[type]:
    halves = [parts[half].value for half in HALVES if half in parts]
    rows = [row.value for half in halves if isinstance(half, list) for row in half]
    names = [row["block"].value for row in rows if isinstance(row, dict) and "block" in row]
    return [blocks[name] for name in names if isinstance(name, str) and name in blocks]


def _half(
    parts: dict[str, Node], half: str, shared: dict[str, Node], blocks: Mapping[str, type], faults: Faults
) -> tuple[BlockSpec, ...]:
    if half not in parts:
        return ()
    node = parts[half]
    if not isinstance(node.value, list) or not 1 <= len(node.value) <= MAX_ROWS:
        faults.add(node.location, half, f"expected a list of 1 to {MAX_ROWS} rows, such as {{block: conv, …}}")
        return ()
    rows = (_row(child, f"{half}[{i}]", shared, blocks, faults) for i, child in enumerate(node.value))
    return tuple(row for row in rows if row is not None)


def _row(
    node: Node, path: str, shared: dict[str, Node], blocks: Mapping[str, type], faults: Faults
) -> BlockSpec | None:
    if not isinstance(node.value, dict) or "block" not in node.value:
        faults.add(node.location, path, "expected a row with a block, such as {block: conv, out: 64, kernel: 3}")
        return None
    name = convert(node.value["block"], Annotated[str, blocks], f"{path}.block", faults)
    if name is FAILED:
        return None
    block = blocks[name]
    known = fields_of(block)
    arguments = fill(node, block, path, faults, skip=("block",))
    for key, child in shared.items():
        if key in known and key not in arguments:
            arguments[key] = convert(child, known[key].hint, f"shared.{key}", faults)
    if absent := missing(arguments, block):
        faults.add(node.location, path, f"missing {', '.join(absent)} for {block.__name__}")
    kept = {k: arguments[k] for k, f in known.items() if k in arguments and arguments[k] != f.default}
    return BlockSpec(name, kept, node.location)
