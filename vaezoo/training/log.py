"""The log of a run: `log.jsonl`, one JSON object per line, in order of `step`."""

import json
import math
from pathlib import Path
from typing import Any

from vaezoo.errors import FileError
from vaezoo.io.files import write_text

NAME = "log.jsonl"


class Log:
    """Writer that appends to the log of a run.

    Lines after `step`, and a last line that was cut off, are removed first.

    Args:
        run: Run folder.
        step: Step from which the run continues; 0 for a new run.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.path = run / NAME
        lines = read_log(run)
        write_text(self.path, "".join(_line(line) for line in lines if line["step"] <= step))

    def add(self, **values: Any) -> None:
        """Append one line; floats keep six significant digits.

        Raises:
            FileError: If the file cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(values))
        except OSError as error:
            raise FileError(f"{self.path}: cannot be written ({error.strerror or error})") from error


def read_log(run: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's log, without a last one that was cut off; a run without a log has none.

    Raises:
        FileError: If another line is damaged, or is not an object with an integer `step`.
    """
    path = run / NAME
    lines: list[dict[str, Any]] = []
    if not path.is_file():
        return lines
    texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            if number == len(texts):  # the process was killed while it wrote this line
                break
            raise FileError(f"{path}: line {number} is damaged ({error}); remove this line") from error
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            raise FileError(f"{path}: {text[:40]!r} is not an object with a step; remove this line")
        lines.append(line)
    return lines


def _line(values: dict[str, Any]) -> str:
    plain = {key: _number(value) for key, value in values.items()}
    return json.dumps(plain, allow_nan=False, ensure_ascii=False) + "\n"


def _number(value: Any) -> Any:
    """Round a float to six significant digits; NaN and infinity, which JSON lacks, become `None`."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None
