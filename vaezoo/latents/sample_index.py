"""The samples of a folder of latents: where their lines are in the manifests, and their labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vaezoo.latents.latent_folder import LatentFolder
from vaezoo.latents.shard_files import read_raw_manifest

UNLABELED = -1
Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class SampleIndex:
    """The samples of a folder, shard after shard, in the order of the rows of their tensors.

    Args:
        lines: Where the line of each sample begins and ends in the manifest of its shard, in bytes, (N, 2).
        labels: Label of each sample, `UNLABELED` where a photo has none; `None` if no photo has one.
        classes: Names of the classes, which labels count; empty if the labels of the folder are numbers.
        captioned: Whether any photo has a caption.
    """

    lines: Integers
    labels: Integers | None
    classes: tuple[str, ...]
    captioned: bool


def index_samples(folder: LatentFolder) -> SampleIndex:
    """Read the manifests of a folder once.

    Raises:
        FileError: If one is damaged, or has changed since the folder was opened.
    """
    spans: list[tuple[int, int]] = []
    labels: list[str | int | None] = []
    captioned = False
    for name in folder.headers:
        found = []
        lines, digest = read_raw_manifest(folder.path, name)
        folder.check_unchanged(name, digest)
        for span, line in lines:
            if line["row"] is not None:
                found.append((line["row"], span, line.get("label")))
                captioned = captioned or "caption" in line
        found.sort(key=lambda sample: sample[0])
        spans += [span for _, span, _ in found]
        labels += [label for _, _, label in found]
    numbers, classes = _numbered(labels)
    return SampleIndex(np.array(spans, np.int64).reshape(-1, 2), numbers, classes, captioned)


def _numbered(labels: list[str | int | None]) -> tuple[Integers | None, tuple[str, ...]]:
    """Labels as numbers, and the names that they count if they are text."""
    labels = [None if label == UNLABELED else label for label in labels]
    given = {label for label in labels if label is not None}
    if not given:
        return None, ()
    if not any(isinstance(label, str) for label in given):
        return np.array([UNLABELED if label is None else label for label in labels], np.int64), ()
    classes = sorted(map(str, given))
    number = {name: i for i, name in enumerate(classes)}
    return np.array([UNLABELED if x is None else number[str(x)] for x in labels], np.int64), tuple(classes)
