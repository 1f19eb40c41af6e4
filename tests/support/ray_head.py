"""A Ray cluster of one machine that tests start, with two processors."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support.checkout import ROOT

START = ("start", "--head", "--block", "--port=0", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats")
# a token of its own: Ray would take, or write, one in the home folder
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
PATHS = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "OMP_NUM_THREADS": "1", **TOKEN}
PATHS["RAY_worker_niceness"] = "0"  # workers wait for tests in other processes otherwise
PATHS["RAY_raylet_start_wait_time_s"] = "120"  # Ray's 30 s are too short for a busy machine
DEADLINE = 150  # seconds


@contextlib.contextmanager
def ray_head() -> Iterator[str]:
    """Start a cluster for the block, and give its address; its files are removed."""
    folder = Path(tempfile.mkdtemp(prefix="vaezoo-ray-", dir="/tmp"))  # pytest's are too long for the sockets in it
    command = [Path(sys.executable).with_name("ray"), *START, f"--temp-dir={folder}", "--object-store-memory=100000000"]
    with (folder / "said").open("w") as said:
        head = subprocess.Popen(command, env=os.environ | PATHS, stdout=said, stderr=said, start_new_session=True)
    try:
        until = time.monotonic() + DEADLINE
        while not (folder / "ray_current_cluster").exists():
            assert head.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < until, (folder / "said").read_text()
            time.sleep(0.1)
        yield (folder / "ray_current_cluster").read_text().strip()
    finally:
        head.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)
