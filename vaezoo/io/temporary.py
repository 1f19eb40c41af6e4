"""Names of temporary files, by which those that a killed process left behind are recognized and removed."""

import os
import re
import secrets
import shutil
import sys
from pathlib import Path

_TOKEN = secrets.token_hex(4)  # of this process: its id may have been that of a dead one, always so in a container
_NAME = re.compile(r"\.vaezoo-tmp-(\d+)-([0-9a-f]{8})-[0-9a-f]{8}(\..*)?", re.DOTALL)


def temporary_name(suffix: str = "") -> str:
    """Return a new name for a temporary file or folder, which `sweep` recognizes once this process has ended.

    Args:
        suffix: End of the name, such as ".png"; empty or beginning with a dot.
    """
    return f".vaezoo-tmp-{os.getpid()}-{_TOKEN}-{secrets.token_hex(4)}{suffix}"


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders in `folder` whose processes have ended; call it with its lock held.

    On Windows nothing is removed, because a process cannot be looked up by its id with the standard library.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and not _is_running(int(match[1]), match[2]):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_running(process: int, token: str) -> bool:
    if process == os.getpid():
        return token == _TOKEN
    if sys.platform == "win32":  # os.kill would end the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # a process of another user
        return True
    return True
