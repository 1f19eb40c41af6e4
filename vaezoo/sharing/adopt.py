"""Giving the model of a folder a name: its network and weights become files of a config folder."""

import json
from pathlib import Path

from vaezoo.errors import InputError
from vaezoo.io.files import make_folder, read_bytes, sha256_of, write_text
from vaezoo.io.folder_lock import write_lock
from vaezoo.nn.blocks import BLOCKS
from vaezoo.specs.catalog import NAME_RULE, canonical, files, is_name
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.parse import MAX_BYTES, parse_content
from vaezoo.specs.render import to_yaml
from vaezoo.weights.write_checkpoint import check_savable, export_checkpoint
from vaezoo.zoo.create import create
from vaezoo.zoo.spec_file import read_spec


def adopt(
    folder: str | Path, name: str, config_dir: str | Path, *, license: str, summary: str = "", trained_on: str = ""
) -> list[Path]:
    """Write the network, weights and record of a saved model to a config folder, so that `create(name)` finds them.

    Existing networks and records of the config folder stay; a new tag is added to the records of its network. The
    record is written last, so an interrupted call leaves no record without weights.

    Args:
        folder: Run folder, or another folder that `vaezoo.save` wrote.
        name: Name to give it, `network.tag`.
        config_dir: Config folder (`vaezoo.add_config_dir`), created if it does not exist.
        license: License id for the record, such as "mit".
        summary: One sentence about the weights for the record.
        trained_on: The training photos, for the record.

    Returns:
        Paths of the written files.

    Raises:
        InputError: If the name is invalid or taken.
        FileError: If a file cannot be read or written.
        CheckpointError: If the weights are damaged.

    Examples:
        >>> import vaezoo
        >>> from vaezoo.sharing.adopt import adopt
        >>> vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
        >>> folder = vaezoo.save(vae, "run")
        >>> [path.name for path in adopt(folder, "mine.v1", "own", license="mit")]
        ['mine.v1.safetensors', 'mine.yaml', 'mine.yaml']
    """
    network, _, tag = canonical(name).partition(".")
    if not is_name(network) or not is_name(tag):
        raise InputError(f"{name!r}: expected NETWORK.TAG, each of {NAME_RULE}")
    vae = create(f"local-dir:{folder}", pretrained=True, dtype=None)
    check_savable(vae)
    configs = make_folder(config_dir)
    model, record = (make_folder(configs / kind) / f"{network}.yaml" for kind in ("models", "weights"))
    with write_lock(configs):
        _check_name(network, vae.spec, model, record)
        before = _records(record, tag)
        weights = record.with_name(f"{network}.{tag}.safetensors")
        export_checkpoint(vae, weights)
        written = [weights]
        if network not in files("models") and not model.exists():
            write_text(model, to_yaml(vae.spec, BLOCKS))
            written.append(model)
        facts = {
            "summary": summary,
            "source": {"file": weights.name},
            "layout": "native",
            "sha256": sha256_of(weights),
            "license": license,
            "trained_on": trained_on,
            "latent_stats": vae.latent_stats and vae.latent_stats.to_dict(),
        }
        lines = [f"  {key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in facts.items() if value]
        write_text(record, f"{before or f'default: {tag}'}\n{tag}:\n{''.join(lines)}")
    return [*written, record]


def _check_name(network: str, spec: ModelSpec, model: Path, record: Path) -> None:
    """Raise `InputError` if another network has the name, or other records than those of the config folder."""
    known = {kind: files(kind).get(network) for kind in ("models", "weights")}
    path = model if model.exists() else known["models"]
    if path and read_spec(path, network).hash != spec.hash:
        raise InputError(f"{network} is the name of another network, {path}; choose a new name")
    taken = known["weights"]
    if taken and taken.resolve() != record.resolve():
        raise InputError(f"{network} has its weights in {taken}; choose a new name")


def _records(path: Path, tag: str) -> str:
    """The text of an existing file of records; raises `InputError` if it has the tag."""
    if not path.exists():
        return ""
    content = read_bytes(path, MAX_BYTES)
    tree = parse_content(content, str(path))
    if not isinstance(tree.value, dict) or tag in tree.value:
        raise InputError(f"{path}: already has the tag {tag}; choose another one")
    return content.decode("utf-8").rstrip("\n")
