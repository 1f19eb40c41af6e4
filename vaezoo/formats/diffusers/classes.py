"""Translate a `config.json` of diffusers to a spec, and a spec to the `config.json` of a class of diffusers."""

from typing import Any, NamedTuple

from vaezoo.errors import CheckpointError, SpecError
from vaezoo.formats.diffusers.autoencoder import AutoencoderConfig, WritableConfig
from vaezoo.formats.diffusers.autoencoder_dc import AutoencoderDC
from vaezoo.formats.diffusers.autoencoder_kl import AsymmetricAutoencoderKL, AutoencoderKL, AutoencoderKLFlux2
from vaezoo.formats.diffusers.autoencoder_kl_hunyuan import AutoencoderKLHunyuanImage
from vaezoo.formats.diffusers.autoencoder_kl_wan import AutoencoderKLQwenImage, AutoencoderKLWan
from vaezoo.formats.diffusers.autoencoder_tiny import AutoencoderTiny
from vaezoo.nn.schema import check_spec
from vaezoo.specs.check import check
from vaezoo.specs.model import HALVES, ModelSpec
from vaezoo.specs.stats import LatentStats
from vaezoo.specs.tree import Location, Node, from_plain, short

CLASS_KEY = "_class_name"
CLASSES: dict[str, type[AutoencoderConfig]] = {  # if several can express a network, the first one is written
    config.__name__: config
    for config in (
        AutoencoderKL,
        AutoencoderKLFlux2,
        AutoencoderTiny,
        AutoencoderDC,
        AutoencoderKLHunyuanImage,
        AsymmetricAutoencoderKL,
        AutoencoderKLQwenImage,
        AutoencoderKLWan,
    )
}
_INVALID = 1_000  # differences that a config counts for if its keys are invalid: more than any valid one has


class DiffusersNetwork(NamedTuple):
    """The network of a `config.json` of diffusers.

    Args:
        spec: The network.
        stats: Latent statistics in the config; if they are `in_file`, their values are with the weights.
    """

    spec: ModelSpec
    stats: LatentStats | None


def spec_from_config(tree: Node) -> DiffusersNetwork:
    """Translate a `config.json` of diffusers.

    Args:
        tree: Content of the file, as read by `vaezoo.specs.tree`.

    Raises:
        SpecError: If its class is not one of `CLASSES`, or a key or value has no equivalent in vaezoo.
    """
    name = tree.value[CLASS_KEY].plain() if isinstance(tree.value, dict) and CLASS_KEY in tree.value else None
    if not isinstance(tree.value, dict) or not isinstance(name, str) or name not in CLASSES:
        raise SpecError(
            f"{tree.location}: {CLASS_KEY} is {short(name)}, not one of these classes of diffusers: "
            f"{', '.join(CLASSES)}"
        )
    kept = {k: v for k, v in tree.value.items() if not k.startswith("_") and k not in CLASSES[name].IGNORED}
    shaping = Node(kept, tree.location, {k: tree.keys[k] for k in kept})
    config = check(shaping, CLASSES[name])
    if problem := config.problem():
        raise SpecError(f"{tree.location}: {problem}")
    spec = check_spec(from_plain(config.network(), tree.location))
    stats = config.stats()
    if stats:
        stats.check(spec.latent.channels, str(tree.location))
    return DiffusersNetwork(spec, stats)


def config_from_spec(spec: ModelSpec, stats: LatentStats | None = None) -> dict[str, Any]:
    """Return the `config.json` from which diffusers builds the same network, as plain data.

    Every class reads its keys off the spec; they are translated back, and the first class with an equal network is
    used. `scaling_factor` is 1 if there are no statistics. `_diffusers_version` is left out, because diffusers did not
    write the config.

    Args:
        spec: The network.
        stats: Latent statistics of its weights.

    Raises:
        CheckpointError: If no class of diffusers has this network with these statistics; the text names the most
            similar class and the first difference.
    """
    misses: list[tuple[int, str, str]] = []
    for name, cls in CLASSES.items():
        if not issubclass(cls, WritableConfig):
            continue
        keys = {k: list(v) if isinstance(v, tuple) else v for k, v in cls.keys_of(spec, stats).items() if v is not None}
        config = {CLASS_KEY: name, **keys}
        try:
            found = spec_from_config(from_plain(config, Location(name)))
        except SpecError as error:
            misses.append((_INVALID, name, str(error).partition("\n")[0].removeprefix(f"{name}: ")))
            continue
        different = differences(spec, found.spec) or _different_stats(stats, found.stats)
        if not different:
            return config
        misses.append((len(different), name, different[0]))
    _, name, difference = min(misses, key=lambda miss: miss[0])
    raise CheckpointError(
        f"{spec.label} is not a network of any class of diffusers; the nearest is {name}, except for {difference}; "
        "save it with vaezoo.save, which writes any network"
    )


def differences(spec: ModelSpec, other: ModelSpec) -> list[str]:
    """List the differences between two networks in order, such as `decoder[3].layers (4, not 3)`.

    The list is empty if the spec hashes are equal.
    """
    if spec.hash == other.hash:
        return []
    found = [*_different("image", vars(spec.image), vars(other.image))]
    found += _different("latent", vars(spec.latent), vars(other.latent))
    for half in HALVES:
        rows, others = getattr(spec, half), getattr(other, half)
        for i, pair in enumerate(zip(rows, others, strict=False)):
            found += _different(f"{half}[{i}]", *({"block": row.block, **row.arguments} for row in pair))
        if len(rows) != len(others):
            found.append(f"{half} ({len(rows)} rows, not {len(others)})")
    return found


def _different(path: str, ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    pairs = {key: (ours.get(key), theirs.get(key)) for key in (ours | theirs)}
    return [f"{path}.{key} ({short(a)}, not {short(b)})" for key, (a, b) in pairs.items() if a != b]


def _different_stats(ours: LatentStats | None, theirs: LatentStats | None) -> list[str]:
    """Return the difference between statistics; missing ones, which no config can express, equal all others."""
    if ours is None:
        return []
    if theirs is not None and theirs.in_file:
        same = ours.pack == theirs.pack and ours.eps == theirs.eps
    else:
        same = theirs is not None and _effect(ours) == _effect(theirs)
    return [] if same else [f"latent_stats ({short(ours.to_dict())}, not {short(theirs and theirs.to_dict())})"]


def _effect(stats: LatentStats) -> tuple[Any, ...]:
    return stats.pack, stats.offset, stats.gain
