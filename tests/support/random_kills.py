"""Kill a training or an ablation at random moments: `python -m support.random_kills FOLDER train|ablate KILLS`.

Every attempt is a fork of this process, which has imported everything and computed nothing.
"""

import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.kills import content
from support.short_runs import OUTPUT, prepare_ablation, prepare_training, same_times


def attempt(work: Callable[[], Any], seconds: float | None = None) -> bool:
    """Work in a fork, which is killed after some seconds; return whether it ended before."""
    if (child := os.fork()) == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            work()
        except BaseException:  # noqa: BLE001 - the child must not go on as its parent
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status == 0


def finished(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder but for what attempts printed."""
    return {name: data for name, data in content(folder).items() if not name.endswith(OUTPUT)}


def main(arguments: Sequence[str]) -> None:
    """Kill as often as asked, and compare every finished folder with that of an uninterrupted attempt."""
    folder, what, kills = Path(arguments[0]), arguments[1], int(arguments[2])
    same_times(pytest.MonkeyPatch())
    work = prepare_training(folder) if what == "train" else prepare_ablation(folder)
    out = folder / ("run" if what == "train" else "out")
    start = time.monotonic()
    assert attempt(work)
    seconds, expected = time.monotonic() - start, finished(out)
    draw, killed, ended = random.Random(0), 0, 0
    while killed < kills:
        shutil.rmtree(out)
        out.mkdir()
        for _ in range(draw.choice((2, 4, 8))):
            killed += not attempt(work, draw.uniform(0, seconds))
        assert attempt(work)
        assert finished(out) == expected
        ended += 1
    print(f"{killed} kills in {ended} folders that ended well: {ended}")


if __name__ == "__main__":
    main(sys.argv[1:])
