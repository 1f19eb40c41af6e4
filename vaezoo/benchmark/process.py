"""Processes that make benchmark steps, as seen by the process that starts them."""

import contextlib
import json
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from vaezoo.io.python_command import python_command
from vaezoo.specs.catalog import catalog_environment


class ProcessLost(Exception):
    """A benchmark process ended before it answered; the message is the reason, in one line."""


class BenchmarkProcess:
    """A process that makes the steps of one benchmark case.

    Args:
        process: The running process, with pipes for standard input and output.
        log: File that its standard error goes to.
    """

    def __init__(self, process: subprocess.Popen[str], log: IO[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._log = process, log
        self._questions, self._answers = process.stdin, process.stdout

    def kill(self) -> None:
        """End the process, which has nothing to save."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):  # from questions that it did not read
            self._questions.close()

    def ask(self, question: str) -> dict[str, Any]:
        """Send one line and return the answer to it.

        Args:
            question: A line that the program reads: for `vaezoo.benchmark.child` the case as JSON first, then any text
                for each step.

        Returns:
            Its answer.

        Raises:
            ProcessLost: If the process ended instead.
        """
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._questions.write(f"{question}\n")
            self._questions.flush()
        line = self._answers.readline()
        if not line:
            raise ProcessLost(self._reason())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _reason(self) -> str:
        status = self._process.wait()
        if status < 0:
            name = signal.Signals(-status).name
            return f"killed by {name}{', probably out of memory' if name == 'SIGKILL' else ''}"
        self._log.seek(0)
        lines = [line for line in self._log.read().splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"[\w.]*(Error|Exit|Interrupt)\b", line)]
        return [f"ended with status {status}", *lines[-1:], *errors[-1:]][-1]


@contextlib.contextmanager
def benchmark_process(module: str = "vaezoo.benchmark.child") -> Iterator[BenchmarkProcess]:
    """Start a benchmark process for the duration of a block.

    Args:
        module: The program.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        command = python_command(module)
        environment, pipe = catalog_environment(), subprocess.PIPE
        with subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=log, text=True, encoding="utf-8"
        ) as process:
            benchmark = BenchmarkProcess(process, log)
            try:
                yield benchmark
            finally:
                benchmark.kill()
