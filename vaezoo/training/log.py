"""The log of a run: `log.jsonl`, one JSON object a line, in order of `step`."""

import json
import math
from pathlib import Path
from typing import Any

from vaezoo.errors import FileError
from vaezoo.io.files import write_text

NAME = "log.jsonl"


class Log:
    """Appends to the log of a run.

    Args:
        run: The run folder.
        step: The step that the run goes on from; later lines, and one that was cut off, are removed.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.path = run / NAME
        lines = read_log(run)
        write_text(self.path, "".join(_line(line) for line in lines if line["step"] <= step))

    def add(self, **values: Any) -> None:
        """Write one line.

        Raises:
            FileError: If it cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(values))
        except OSError as error:
            raise FileError(f"{self.path}: cannot be written ({error.strerror or error})") from error


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; what follows one that was cut off is left out.

    Raises:
        FileError: If a line is something else than an object with a `step`.
    """
    path, lines = run / NAME, []
    if not path.is_file():
        return lines
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:  # a process was killed while it wrote this
            break
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            raise FileError(f"{path}: {text[:40]!r} is no object with a step; remove this line")
        lines.append(line)
    return lines


def _line(values: dict[str, Any]) -> str:
    plain = {key: _number(value) for key, value in values.items()}
    return json.dumps(plain, allow_nan=False, ensure_ascii=False) + "\n"


def _number(value: Any) -> Any:
    """Six digits of a float; null for what JSON has no number for."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None
