"""Write measured rows as a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from vaezoo.io.files import replacing


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows, at least one, whose keys are the columns; the file is replaced as a whole."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
