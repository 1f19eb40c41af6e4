"""Short trainings in forked processes that are killed at one file-system event each: `python -m support.kills FOLDER`.

Every child is forked from this process, which has imported everything, so that one kill costs a fraction of a second.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.training import quiet, write_recipe
from vaezoo.specs.overrides import parse_settings
from vaezoo.training import loop
from vaezoo.training.recipes import read_recipe

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.chmod", "shutil.rmtree")
SETTINGS = ("steps=3", "checkpoint_every=1", "keep=1", "grid_every=3", "data.sizes=[8]", "validation.every=2")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether an audit event changes the file system."""
    if event == "open":
        return isinstance(arguments[0], (str, bytes, os.PathLike)) and bool(arguments[2] & WRITES)
    return event in CHANGES


def train(folder: Path, run: Path) -> None:
    """Train a short run, or resume it if it has begun; times of the log are constant."""
    loop.time = SimpleNamespace(monotonic=lambda: 0.0)
    quiet(read_recipe(folder / "recipe.yaml", parse_settings(SETTINGS)), run, (run / "recipe.yaml").exists())


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a forked process and return its exit status, negative if a signal killed it."""
    if (child := os.fork()) == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the child must not go on as its parent
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def events_of(folder: Path) -> list[str]:
    """Train without interruption into `folder/whole`, and list the events that change the file system."""
    listing = folder / "events.txt"

    def record() -> None:
        with listing.open("w") as file:

            def hook(event: str, arguments: tuple[Any, ...]) -> None:
                if is_change(event, arguments):
                    file.write(f"{event} {' '.join(map(str, arguments[:2]))}\n")

            sys.addaudithook(hook)
            train(folder, folder / "whole")
            file.flush()
            os._exit(0)

    assert forked(record) == 0
    return listing.read_text().splitlines()


def kill_at(folder: Path, number: int) -> Path:
    """Train into a new folder, kill the training at an event, resume it to its end, and return the folder."""
    run, seen = folder / f"killed_{number}", [0]

    def interrupted() -> None:
        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if is_change(event, arguments):
                if seen[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen[0] += 1

        sys.addaudithook(hook)
        train(folder, run)

    assert forked(interrupted) == -signal.SIGKILL
    assert forked(lambda: train(folder, run)) == 0
    return run


def content(run: Path) -> dict[str, bytes]:
    """Return the content of every file of a folder by its relative path."""
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def differences(whole: Path, killed: Path) -> list[str]:
    """Return the names of the files that differ between two run folders."""
    a, b = content(whole), content(killed)
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def main(arguments: Sequence[str]) -> None:
    """Kill a training at every event; with words, at the last event that contains each of them."""
    folder, words = Path(arguments[0]), arguments[1:]
    write_recipe(folder)
    events = events_of(folder)
    last = {word: max(i for i, event in enumerate(events) if word in event) for word in words}
    chosen = sorted(last.values()) if words else range(len(events))
    for number in chosen:
        run = kill_at(folder, number)
        if different := differences(folder / "whole", run):
            print(f"{number} {events[number]}: {', '.join(different)}")
    print(f"killed at {len(chosen)} of {len(events)} events")


if __name__ == "__main__":
    main(sys.argv[1:])
