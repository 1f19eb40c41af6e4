"""A `config.json` of diffusers to a network and back."""

from collections.abc import Callable
from typing import Any, NamedTuple

from vaezoo.errors import CheckpointError, SpecError
from vaezoo.formats.diffusers.autoencoder_dc import AutoencoderDC, dc_keys
from vaezoo.formats.diffusers.autoencoder_kl import (
    AsymmetricAutoencoderKL,
    AutoencoderKL,
    AutoencoderKLFlux2,
    flux2_keys,
    kl_keys,
)
from vaezoo.formats.diffusers.autoencoder_kl_hunyuan import AutoencoderKLHunyuanImage, hunyuan_keys
from vaezoo.formats.diffusers.autoencoder_kl_wan import AutoencoderKLQwenImage, AutoencoderKLWan
from vaezoo.formats.diffusers.autoencoder_tiny import AutoencoderTiny, tiny_keys
from vaezoo.formats.diffusers.config_keys import Keys
from vaezoo.nn.schema import check_spec
from vaezoo.specs.check import check
from vaezoo.specs.model import HALVES, ModelSpec
from vaezoo.specs.stats import LatentStats
from vaezoo.specs.tree import Location, Node, from_plain, short

CLASS = "_class_name"


class Foreign(NamedTuple):
    """What a `config.json` of diffusers says, checked; statistics may be `in_file`, with the weights."""

    spec: ModelSpec
    stats: LatentStats | None


class Kind(NamedTuple):
    """A class of diffusers: its keys, and how they are read off a network; None where weights cannot be written."""

    keys: type[Keys]
    read: Callable[[ModelSpec, LatentStats | None], dict[str, Any]] | None


CLASSES: dict[str, Kind] = {  # of several that express a network the first is written
    "AutoencoderKL": Kind(AutoencoderKL, kl_keys),
    "AutoencoderKLFlux2": Kind(AutoencoderKLFlux2, flux2_keys),
    "AutoencoderTiny": Kind(AutoencoderTiny, tiny_keys),
    "AutoencoderDC": Kind(AutoencoderDC, dc_keys),
    "AutoencoderKLHunyuanImage": Kind(AutoencoderKLHunyuanImage, hunyuan_keys),
    "AsymmetricAutoencoderKL": Kind(AsymmetricAutoencoderKL, None),
    "AutoencoderKLQwenImage": Kind(AutoencoderKLQwenImage, None),
    "AutoencoderKLWan": Kind(AutoencoderKLWan, None),
}


def spec_from_config(tree: Node) -> Foreign:
    """The network and latent statistics that a `config.json` of diffusers says.

    Args:
        tree: The file, as `specs.tree` reads it.

    Raises:
        SpecError: If its class is none of `CLASSES`, or it has keys or values that no network here can follow.
    """
    name = tree.value[CLASS].plain() if isinstance(tree.value, dict) and CLASS in tree.value else None
    if not isinstance(name, str) or name not in CLASSES:
        raise SpecError(
            f"{tree.location}: {CLASS} is {short(name)}, not one of these classes of diffusers: {', '.join(CLASSES)}"
        )
    keys = check(_shaping(tree, CLASSES[name].keys), CLASSES[name].keys)
    if problem := keys.problem():
        raise SpecError(f"{tree.location}: {problem}")
    spec = check_spec(from_plain(keys.network(), tree.location))
    stats = keys.stats()
    if stats:
        stats.check(spec.latent.channels, str(tree.location))
    return Foreign(spec, stats)


def _shaping(tree: Node, keys: type[Keys]) -> Node:
    """The tree without what diffusers notes of itself, in keys that start with `_`, and what changes nothing."""
    kept = {k: v for k, v in tree.value.items() if not k.startswith("_") and k not in keys.IGNORED}
    return Node(kept, tree.location, {k: tree.keys[k] for k in kept})


def config_from_spec(spec: ModelSpec, stats: LatentStats | None = None) -> dict[str, Any]:
    """The `config.json` with which diffusers builds the same network, as plain data.

    There is no list of what a class can express: each class's keys are read off the rows, and the network that they
    stand for is compared with the one given. Without statistics `scaling_factor` is 1. `_diffusers_version` is left
    out, because no diffusers wrote it.

    Args:
        spec: The network.
        stats: The latent statistics of its weights.

    Raises:
        CheckpointError: If no class of diffusers has this network, or these statistics; the text names the nearest
            class and the first difference.
    """
    misses: list[tuple[int, str, str]] = []
    for name, kind in CLASSES.items():
        if kind.read is None:
            continue
        config = {CLASS: name, **_given(kind.read(spec, stats))}
        try:
            found = spec_from_config(from_plain(config, Location(name)))
        except SpecError as error:
            misses.append((1_000, name, str(error).partition("\n")[0].removeprefix(f"{name}: ")))
            continue
        different = differences(spec, found.spec) or _statistics(stats, found.stats)
        if not different:
            return config
        misses.append((len(different), name, different[0]))
    _, name, difference = min(misses, key=lambda miss: miss[0])
    raise CheckpointError(
        f"{spec.label} is none of diffusers' classes; the nearest is {name}, but for {difference}. vaezoo.save writes "
        "any network"
    )


def _given(keys: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in keys.items() if v is not None}


def differences(spec: ModelSpec, other: ModelSpec) -> list[str]:
    """Where two networks differ, `decoder[3].layers (4, not 3)`, in order; empty where their hashes are equal."""
    if spec.hash == other.hash:
        return []
    found = [*_between("image", vars(spec.image), vars(other.image))]
    found += _between("latent", vars(spec.latent), vars(other.latent))
    for half in HALVES:
        rows, theirs = getattr(spec, half), getattr(other, half)
        for i, (row, its) in enumerate(zip(rows, theirs, strict=False)):
            a, b = ({"block": r.block, **r.arguments} for r in (row, its))
            found += _between(f"{half}[{i}]", a, b)
        if len(rows) != len(theirs):
            found.append(f"{half} ({len(rows)} rows, not {len(theirs)})")
    return found


def _between(path: str, ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    keys = dict.fromkeys([*ours, *theirs])
    pairs = {key: (ours.get(key), theirs.get(key)) for key in keys}
    return [f"{path}.{key} ({short(a)}, not {short(b)})" for key, (a, b) in pairs.items() if a != b]


def _statistics(ours: LatentStats | None, theirs: LatentStats | None) -> list[str]:
    """The difference between statistics; none at all, which no key can say, differ from nothing."""
    if ours is None:
        return []
    if theirs is not None and theirs.in_file:
        same = ours.pack == theirs.pack and ours.eps == theirs.eps
    else:
        same = theirs is not None and _effect(ours) == _effect(theirs)
    return [] if same else [f"latent_stats ({short(ours.to_dict())}, not {short(theirs and theirs.to_dict())})"]


def _effect(stats: LatentStats) -> tuple[Any, ...]:
    return stats.pack, stats.offset, stats.gain
