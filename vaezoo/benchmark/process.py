"""Bench processes from the other side: start one, ask it for steps, learn why it ended."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from vaezoo.benchmark.case import Job


class Lost(Exception):
    """A bench ended before it answered; the text says why, in one line."""


class Bench:
    """One process that makes steps of a job."""

    def __init__(self, process: subprocess.Popen, log: Any) -> None:
        self._process, self._log = process, log

    def ask(self, question: str) -> dict[str, Any]:
        """Its answer to a line.

        Raises:
            Lost: If it ended instead.
        """
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(f"{question}\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Lost(self._why())
        return json.loads(line)

    def _why(self) -> str:
        status = self._process.wait()
        if status < 0:
            name = signal.Signals(-status).name
            return f"killed by {name}{', probably out of memory' if name == 'SIGKILL' else ''}"
        self._log.seek(0)
        lines = [line for line in self._log.read().splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"[\w.]*(Error|Exit|Interrupt)\b", line)]
        return [f"ended with status {status}", *lines[-1:], *errors[-1:]][-1]


@contextlib.contextmanager
def bench(job: Job) -> Iterator[Bench]:
    """A bench that has got its job; ask it once for its facts, then for steps. It is ended with the block."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        command = [sys.executable, "-m", "vaezoo.benchmark.child"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        with subprocess.Popen(command, text=True, encoding="utf-8", **pipes) as process:
            try:
                yield Bench(process, log)
            finally:
                process.kill()  # it has nothing to save
                with contextlib.suppress(BrokenPipeError):  # of what it did not read
                    process.stdin.close()
