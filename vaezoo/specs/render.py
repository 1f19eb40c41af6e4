"""Specs to YAML that reads like a file of `configs/models`."""

import json
import re
from typing import Any

import yaml

from vaezoo.specs.check import REQUIRED, fields_of
from vaezoo.specs.model import HALVES, ModelSpec, Row


def to_yaml(spec: ModelSpec, blocks: dict[str, type]) -> str:
    """The YAML text of a spec, one row a line; keys that all rows agree on stand once under `shared`.

    Reading it back gives the same spec hash.
    """
    data = spec.to_dict()
    rows = [row for half in HALVES for row in getattr(spec, half)]
    shared = _shared(rows, blocks)
    lines = [f"summary: {_text(spec.summary)}"] if spec.summary else []
    lines += [f"{part}: {_flow(data[part])}" for part in ("image", "latent")]
    lines += [f"shared: {_flow(shared)}"] if shared else []
    for half in HALVES:
        lines += ["", f"{half}:"]
        for row in getattr(spec, half):
            own = {key: value for key, value in row.arguments.items() if key not in shared}
            lines.append(f"  - {_flow({'block': row.block, **own})}")
    return "\n".join(lines) + "\n"


def _shared(rows: list[Row], blocks: dict[str, type]) -> dict[str, Any]:
    """Keys without a default that stand in several rows, with one value wherever a block has them."""
    shared: dict[str, Any] = {}
    keys = {key for row in rows for key, field in fields_of(blocks[row.block]).items() if field.default is REQUIRED}
    for key in sorted(keys - {"out", "layers", "kernel", "resample"}):
        values = [row.arguments[key] for row in rows if key in fields_of(blocks[row.block]) and key in row.arguments]
        having = [row for row in rows if key in fields_of(blocks[row.block])]
        if len(values) == len(having) > 1 and all(value == values[0] for value in values):
            shared[key] = values[0]
    return shared


def _flow(data: dict[str, Any]) -> str:
    return yaml.safe_dump(data, default_flow_style=True, sort_keys=False, width=10_000).strip()


def _text(text: str) -> str:
    """A sentence as it is, anything that YAML could take for something else in quotes."""
    return text if re.fullmatch(r"[A-Za-z]+ [\w ,.;()%/-]*[\w.)]", text) else json.dumps(text, ensure_ascii=False)
