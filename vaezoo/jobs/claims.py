"""Who works on a run: a file that one process alone can make, on a folder that many machines may share."""

import json
import os
import socket
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import FileError
from vaezoo.io.files import make_folder

UNREADABLE = "unreadable"


class Claim(NamedTuple):
    """A process that works on a run: its `host` and `pid`, when it began (seconds since 1970), and what tells it from a
    later process of that pid."""

    host: str
    pid: int
    time: float
    started: str

    def alive(self) -> bool:
        """Whether its process may still be at work: of another host nobody knows."""
        return self.host != socket.gethostname() or (self.started == _started(self.pid) and _runs(self.pid))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {time.strftime('%Y-%m-%d %H:%M', time.localtime(self.time))}"


def holder(folder: Path, released: Collection[str] = ()) -> Claim | None:
    """Who works on the run of a folder, or None where nobody does.

    Args:
        folder: Of the run.
        released: Hosts whose claims are void, because their processes are known to have ended; of this one it is known
            without being told.
    """
    last, others = _last(folder), set(released) - {socket.gethostname()}
    return last if last and last.alive() and last.host not in others else None


def claim(folder: Path, released: Collection[str] = ()) -> Claim | None:
    """Claim the run of a folder for this process; returns who was faster, or None where it is now ours.

    Each claim is a file of the next number, so that of two processes that find one whose process is dead only one
    makes the next; none is ever removed.

    Raises:
        FileError: If the folder cannot be written.
    """
    number = len(_files(make_folder(folder)))
    if found := holder(folder, released):
        return found
    path, pid = folder / f"claim_{number + 1:04d}.json", os.getpid()
    text = json.dumps(Claim(socket.gethostname(), pid, time.time(), _started(pid))._asdict())
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return _last(folder)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error})") from error
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("claim_*.json"))


def _last(folder: Path) -> Claim | None:
    """The newest claim; one that is being written, or was cut off, is of the host `unreadable`."""
    files = _files(folder)
    if not files:
        return None
    try:
        return Claim(**json.loads(files[-1].read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return Claim(UNREADABLE, 0, files[-1].stat().st_mtime, "")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _started(pid: int) -> str:
    """When a process began, as the kernel counts; empty where it does not tell, or the process is dead or a zombie."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]
