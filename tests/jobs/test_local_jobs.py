"""Jobs of this machine: one process alone holds a folder, a dead one holds none, and jobs share the machine."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vaezoo.errors import FileError
from vaezoo.io.folder_lock import LOCK, folder_lock
from vaezoo.jobs import local
from vaezoo.jobs.job import Job
from vaezoo.jobs.local import run_jobs

HOLDER = """\
import pathlib, sys, time
from vaezoo.io.folder_lock import folder_lock
with folder_lock(pathlib.Path(sys.argv[1])) as acquired:
    print(acquired, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `folder`."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


def job(folder, code, name="job"):
    return Job(name, "support.run_code", [code], folder / f"{name}.txt")


def test_the_lock_of_another_process_holds_until_it_is_killed(tmp_path, holder):
    with folder_lock(tmp_path / "run") as acquired:
        assert not acquired
    holder.kill()
    holder.wait()
    with folder_lock(tmp_path / "run") as acquired:
        assert acquired


def test_a_lock_can_be_taken_again_after_its_block(tmp_path):
    for _ in range(2):
        with folder_lock(tmp_path) as acquired, folder_lock(tmp_path) as again:
            assert (acquired, again) == (True, False)


def test_of_many_that_lock_at_once_one_wins(tmp_path):
    def lock(folder):
        with folder_lock(folder) as acquired:
            if acquired:
                (folder / f"{os.urandom(8).hex()}.won").touch()
            everyone.wait()

    for round_ in range(20):
        folder, everyone = tmp_path / str(round_), threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lock, [folder] * 8))
        assert len(list(folder.glob("*.won"))) == 1


def test_a_lock_is_waited_for_as_long_as_asked(tmp_path, holder):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: (time.sleep(0.5), holder.kill()))
        with folder_lock(tmp_path / "run", timeout=30) as acquired:
            assert acquired


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FileError, match="file"), folder_lock(tmp_path / "file"):
        pass
    (tmp_path / LOCK).mkdir()
    with pytest.raises(FileError, match=r"lock: cannot be locked .* local disk"), folder_lock(tmp_path):
        pass


def test_jobs_run_some_at_a_time_and_say_how_they_ended(tmp_path):
    count = "import glob, os, pathlib, time; p = pathlib.Path(f'{os.getpid()}.on'); p.touch(); time.sleep(0.3)"
    count += "; print(len(glob.glob('*.on'))); p.unlink()"
    jobs, ended = [job(tmp_path, f"import os; os.chdir({str(tmp_path)!r}); {count}", f"{i}") for i in range(5)], {}
    jobs.append(job(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed"))
    jobs.append(job(tmp_path, "raise SystemExit(3)", "failed"))
    assert run_jobs(iter(jobs), 2, lambda job, status, seconds: ended.update({job.name: status})) is None
    assert ended == {**dict.fromkeys("01234", 0), "killed": -signal.SIGKILL, "failed": 3}
    assert max(int((tmp_path / f"{i}.txt").read_text()) for i in range(5)) <= 2


def test_a_job_is_taken_only_when_a_process_is_free_for_it(tmp_path):
    taken = []

    def jobs():
        for name in ("first", "second"):
            taken.append(name)
            yield job(tmp_path, "pass", name)

    run_jobs(jobs(), 1, lambda *_: taken.append("end"))
    assert taken == ["first", "end", "second", "end"]


def test_output_is_appended_and_a_job_is_no_rank_of_torchrun(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    code = "import os, sys; print(os.environ.get('RANK')); print('error', file=sys.stderr)"
    for _ in range(2):
        run_jobs([job(tmp_path, code)], 1, lambda *_: None)
    assert sorted((tmp_path / "job.txt").read_text().split()) == ["None"] * 2 + ["error"] * 2


@pytest.mark.parametrize(("chosen", "seen"), [(None, {"0", "1"}), ("GPU-a, 5,7", {"GPU-a", "5"})])
def test_each_of_two_jobs_at_a_time_sees_one_of_two_gpus(tmp_path, monkeypatch, chosen, seen):
    monkeypatch.setattr(local.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen) if chosen else monkeypatch.delenv("CUDA_VISIBLE_DEVICES", False)
    both = f"import os, pathlib, time; os.chdir({str(tmp_path)!r}); pathlib.Path(f'{{os.getpid()}}.on').touch()\n"
    both += "while len(list(pathlib.Path().glob('*.on'))) < 2: time.sleep(0.01)\n"
    show = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"
    fixed = Job("fixed", "support.run_code", [show], tmp_path / "fixed.txt", gpu=False)
    run_jobs([job(tmp_path, both + show, "a"), job(tmp_path, both + show, "b"), fixed], 2, lambda *_: None)
    assert {(tmp_path / f"{name}.txt").read_text().strip() for name in "ab"} == seen
    assert (tmp_path / "fixed.txt").read_text().strip() == str(chosen)  # its arguments name a device


def test_an_error_of_the_scheduler_leaves_no_job_behind(tmp_path):
    pid = tmp_path / "pid"
    long = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)"
    short = f"import pathlib, time\nwhile not pathlib.Path({str(pid)!r}).exists(): time.sleep(0.01)"

    def fail(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_jobs([job(tmp_path, long, "long"), job(tmp_path, short, "short")], 2, fail)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
