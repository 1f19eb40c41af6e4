"""Claims: one process alone has a run, and one that is dead has none."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from vaezoo.errors import FileError
from vaezoo.jobs import claims
from vaezoo.jobs.claims import claim, holder


@pytest.fixture
def dead():
    """The pid of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write_claim(folder, number=1, **changes):
    mine = {
        "host": claims.socket.gethostname(),
        "pid": os.getpid(),
        "time": 1e9,
        "started": claims._started(os.getpid()),
    }
    (folder / f"claim_{number:04d}.json").write_text(json.dumps({**mine, **changes}), encoding="utf-8")


def test_who_claims_first_has_the_run(tmp_path):
    folder = tmp_path / "run"
    assert claim(folder) is None
    other = claim(folder)
    assert (other.pid, other.host) == (os.getpid(), claims.socket.gethostname())
    assert str(os.getpid()) in str(other)
    assert holder(folder) == other


def test_of_many_that_claim_at_once_one_wins(tmp_path, dead):
    for round_ in range(20):
        folder = tmp_path / str(round_)
        folder.mkdir()
        if round_ % 2:
            write_claim(folder, pid=dead)
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda _, folder=folder: claim(folder), range(8)))
        assert won.count(None) == 1


def test_the_claim_of_a_dead_process_is_taken_over(tmp_path, dead):
    write_claim(tmp_path, pid=dead)
    assert holder(tmp_path) is None
    assert claim(tmp_path) is None
    assert holder(tmp_path).pid == os.getpid()
    assert len(list(tmp_path.glob("claim_*.json"))) == 2


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="this system does not tell when a process began")
def test_a_later_process_with_the_same_number_holds_nothing(tmp_path):
    write_claim(tmp_path, started="1")
    assert holder(tmp_path) is None


def test_a_claim_of_another_host_holds_until_it_is_released(tmp_path, dead):
    write_claim(tmp_path, host="far-away", pid=dead)
    assert claim(tmp_path).host == "far-away"
    assert claim(tmp_path, ["elsewhere"]).host == "far-away"
    assert claim(tmp_path, ["far-away"]) is None


def test_a_claim_that_was_cut_off_is_nobody_s_to_take_unasked(tmp_path):
    (tmp_path / "claim_0001.json").write_text('{"host": "x', encoding="utf-8")
    assert claim(tmp_path).host == claims.UNREADABLE
    assert claim(tmp_path, [claims.UNREADABLE]) is None


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FileError):
        claim(tmp_path / "file")


def test_what_lives_on_this_machine_is_never_released(tmp_path):
    assert claim(tmp_path) is None
    assert claim(tmp_path, [claims.socket.gethostname()]).pid == os.getpid()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no disk that is always full")
def test_a_full_disk_is_an_error_that_names_the_claim(tmp_path, monkeypatch):
    monkeypatch.setattr(claims.os, "open", lambda *_: os.dup(full))
    with open("/dev/full", "w") as file:
        full = file.fileno()
        with pytest.raises(FileError, match=r"claim_0001.json: cannot be written \(No space"):
            claim(tmp_path)
