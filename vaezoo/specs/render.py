"""Write specs as YAML that looks like a file of `configs/models`."""

import json
import re
from typing import Any

import yaml

from vaezoo.specs.check import REQUIRED, fields_of
from vaezoo.specs.model import HALVES, BlockSpec, ModelSpec

_OWN = ("out", "layers", "kernel", "resample")  # never shared, because they tell rows apart


def to_yaml(spec: ModelSpec, blocks: dict[str, type]) -> str:
    """Return a spec as YAML, one line per block; reading it gives the same spec hash.

    Args:
        spec: The network.
        blocks: Block name to class.
    """
    data, shared = spec.to_dict(), shared_arguments(spec, blocks)
    lines = [f"summary: {_text(spec.summary)}"] if spec.summary else []
    lines += [f"{part}: {_flow(data[part])}" for part in ("image", "latent")]
    lines += [f"shared: {_flow(shared)}"] if shared else []
    for half in HALVES:
        lines += ["", f"{half}:"]
        for row in getattr(spec, half):
            lines.append(f"  - {_flow({'block': row.block, **own_arguments(row, shared)})}")
    return "\n".join(lines) + "\n"


def shared_arguments(spec: ModelSpec, blocks: dict[str, type]) -> dict[str, Any]:
    """Return the arguments that are written once under `shared`.

    Several blocks have them, all with the same value, and at least one block requires them.
    """
    values: dict[str, list[Any]] = {}
    required = set()
    for row in (*spec.encoder, *spec.decoder):
        for key, field in fields_of(blocks[row.block]).items():
            values.setdefault(key, []).append(row.arguments.get(key, field.default))
            required |= {key} if field.default is REQUIRED else set()
    alike = {key: found[0] for key, found in values.items() if len(found) > 1 and found.count(found[0]) == len(found)}
    return {key: value for key, value in alike.items() if key in required and key not in _OWN}


def own_arguments(row: BlockSpec, shared: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a block that are not shared."""
    return {key: value for key, value in row.arguments.items() if key not in shared}


def _flow(data: dict[str, Any]) -> str:
    return yaml.safe_dump(data, default_flow_style=True, sort_keys=False, width=10_000).strip()


def _text(text: str) -> str:
    """Text as it is if it reads like a sentence, otherwise in quotes."""
    return text if re.fullmatch(r"[A-Za-z]+ [\w ,.;()%/-]*[\w.)]", text) else json.dumps(text, ensure_ascii=False)
