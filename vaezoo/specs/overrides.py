"""Override parts of a network by path: `latent.channels`, `encoder.4.heads`, `encoder.*.layers`, `*.*.skip`."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from vaezoo.errors import SpecError
from vaezoo.specs.check import fields_of
from vaezoo.specs.faults import unknown
from vaezoo.specs.model import HALVES, ModelSpec, check_model
from vaezoo.specs.parse import parse_scalar
from vaezoo.specs.tree import Location, Node, from_plain, short


def override(
    spec: ModelSpec, changes: Mapping[str, Any], blocks: Mapping[str, type], latents: Mapping[str, type]
) -> ModelSpec:
    """Return a changed copy of a network, checked like a file.

    Name and summary of the copy state the changes. It has no `expect`, which would no longer hold.

    Args:
        spec: The network.
        changes: Path to value, or to a `Node` from `parse_settings`. A path is `image.channels`, `latent.channels`,
            `latent.kind`, or half, row and key: `encoder.4.heads`. `*` as the half or the row means every row whose
            block has the key.
        blocks: Block name to class.
        latents: Latent kind to class.

    Raises:
        SpecError: If a path matches nothing, or a value is not valid.
    """
    if not isinstance(changes, Mapping):
        raise SpecError(f"overrides: expected a mapping such as {{'latent.channels': 16}}, got {short(changes)}")
    tree = from_plain(spec.to_dict(), Location(spec.name or "spec"))
    nodes = {str(path): _node(path, value) for path, value in changes.items()}
    # Match all paths before the first change, so that a new `block` in one path does not hide rows from another.
    matched = {path: _targets(tree, path, node.location, blocks) for path, node in nodes.items()}
    for path, node in nodes.items():
        for target, key in matched[path]:
            target.value[key], target.keys[key] = node, node.location
    name = spec.name or "network"
    summary = [f"{path}={'null' if node.value is None else node.value}" for path, node in nodes.items()]
    changed = check_model(tree, blocks, latents, f"{name}+{','.join(summary)}")
    return dataclasses.replace(changed, summary=f"{name} with {', '.join(summary)}.")


def parse_settings(settings: Iterable[str]) -> dict[str, Node]:
    """Parse settings such as `latent.channels=16` into changes for `override`; values are read like YAML.

    Raises:
        SpecError: If a setting is not `path=value`, or a path is set twice.
    """
    changes: dict[str, Node] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise SpecError(f"--set {setting}: expected path=value, such as latent.channels=16")
        if path in changes:
            raise SpecError(f"--set {setting}: {path} is set twice")
        changes[path] = parse_scalar(text, Location(f"--set {path}"))
    return changes


def _node(path: str, value: Any) -> Node:
    return value if isinstance(value, Node) else from_plain(value, Location(f"override {path}"))


def _targets(tree: Node, path: str, location: Location, blocks: Mapping[str, type]) -> list[tuple[Node, str]]:
    """The rows (or `image`, or `latent`) that a path matches, each with the key."""
    parts = path.split(".")
    if len(parts) == 2 and parts[0] in ("image", "latent"):
        return [(tree.value[parts[0]], parts[1])]
    if len(parts) != 3 or parts[0] not in (*HALVES, "*"):
        raise SpecError(
            f"{location}: no such path; expected latent.channels, latent.kind, image.channels, or half.row.key such as "
            "encoder.4.heads, encoder.*.layers or *.*.skip"
        )
    half, row, key = parts
    rows = [r for h in (HALVES if half == "*" else [half]) for r in _rows(tree, h, row, location)]
    if row != "*" and half != "*":
        return [(r, key) for r in rows]  # one row: the checker names a key it does not have
    having = [r for r in rows if key in fields_of(blocks[r.value["block"].value])]
    if not having:
        known = sorted({k for r in rows for k in fields_of(blocks[r.value["block"].value])})
        raise SpecError(f"{location}: matches no row; {unknown(key, known, 'key')}")
    return [(r, key) for r in having]


def _rows(tree: Node, half: str, row: str, location: Location) -> list[Node]:
    rows = tree.value[half].value
    if row == "*":
        return rows
    numbers = [str(index) for index in range(len(rows))]
    if row not in numbers:
        raise SpecError(f"{location}: {half} has rows 0 to {len(rows) - 1} and *, not {short(row)}")
    return [rows[int(row)]]
