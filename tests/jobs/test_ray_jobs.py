"""Jobs on a Ray cluster: a real one of this machine, whose workers, drivers and addresses fail."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from support.ablations import write_question
from support.ray_head import PATHS, ray_head

from vaezoo.cli import main
from vaezoo.errors import InputError
from vaezoo.io.python_command import python_command
from vaezoo.jobs import ray_cluster
from vaezoo.jobs.job_engine import Engine
from vaezoo.version import __version__

ONCE = """\
import os, pathlib, time
folder = pathlib.Path(FOLDER)
with (folder / "NAME.pids").open("a") as file:
    file.write(f"{os.getpid()}\\n")
print("began", flush=True)
ACTION
(folder / "NAME.new").touch()
(folder / "NAME.new").rename(folder / "NAME.done")
"""


def write_jobs(folder, **actions):
    for name, action in actions.items():
        code = ONCE.replace("FOLDER", repr(str(folder))).replace("NAME", name).replace("ACTION", action)
        (folder / f"{name}.py").write_text(code, encoding="utf-8")


def wait_for(condition, seconds=150):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def has_ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture(scope="module")
def address():
    with ray_head() as head:
        yield head


@pytest.fixture
def drive(address, tmp_path):
    """Start a driver of the jobs in `tmp_path`; it is killed at the end of the test."""
    drivers = []

    def start(**changed):
        command = [sys.executable, "-m", "support.ray_driver", address, str(tmp_path)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        drivers.append(subprocess.Popen(command, env=os.environ | PATHS | changed, **pipes))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.kill()
        driver.wait()
        driver.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_jobs_run_with_their_outputs_and_one_whose_process_is_killed_is_run_again(drive, tmp_path):
    twice = "if len((folder / 'a.pids').read_text().split()) < 2: time.sleep(60)"
    write_jobs(tmp_path, a=twice, b="os.system('echo of a child')", c="raise SystemExit(3)", d="1 / 0")
    driver = drive()
    wait_for(lambda: (tmp_path / "a.pids").exists())
    os.kill(int((tmp_path / "a.pids").read_text()), signal.SIGKILL)
    said = driver.communicate()[0]
    assert sorted(line for line in said.splitlines() if line.startswith("exit")) == [
        *("exit a 0", "exit b 0", "exit c 3", "exit d 1")
    ], said
    assert "stopped by None" in said
    assert sorted(path.stem for path in tmp_path.glob("*.done")) == ["a", "b"]
    assert (tmp_path / "b.txt").read_text() == "began\nof a child\n"
    assert "ZeroDivisionError: division by zero" in (tmp_path / "d.txt").read_text()
    assert (tmp_path / "a.txt").read_text() == "began\n" * 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_after_a_killed_driver_its_jobs_end_and_the_next_one_makes_what_is_missing(drive, tmp_path):
    unless_done = "if (folder / 'NAME.done').exists(): raise SystemExit(0)\n"
    first_waits = f"{unless_done}while not (folder / 'again').exists(): time.sleep(0.05)"
    write_jobs(tmp_path, a=unless_done, b=first_waits, c=unless_done)
    driver = drive()
    wait_for(lambda: (tmp_path / "b.pids").exists() and (tmp_path / "c.done").exists())
    driver.kill()
    pid = int((tmp_path / "b.pids").read_text())
    wait_for(lambda: has_ended(pid))
    assert sorted(path.stem for path in tmp_path.glob("*.done")) == ["a", "c"]
    (tmp_path / "again").touch()
    assert "stopped by None" in drive().communicate()[0]
    assert sorted(path.stem for path in tmp_path.glob("*.done")) == ["a", "b", "c"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_signal_to_the_driver_lets_running_jobs_save_and_starts_no_other(drive, tmp_path):
    saving = "from vaezoo.training.signals import stop_signals\nwith stop_signals() as names:\n"
    saving += "    (folder / 'ready').touch()\n    while not names: time.sleep(0.05)\n"
    saving += "time.sleep(2)\n(folder / 'saved').touch()\nraise SystemExit(130)"
    write_jobs(tmp_path, a=saving, b="while True: time.sleep(0.05)", c="pass")
    driver = drive()
    wait_for(lambda: (tmp_path / "ready").exists() and (tmp_path / "b.pids").exists())
    driver.send_signal(signal.SIGTERM)
    said = driver.communicate()[0]
    assert "exit a 130" in said
    assert f"exit b {-signal.SIGINT}" in said
    assert "stopped by SIGTERM" in said
    assert (tmp_path / "saved").exists()
    assert not (tmp_path / "c.pids").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_ablation_on_a_cluster_has_the_table_of_one_on_this_machine(address, tmp_path):
    question = write_question(tmp_path, grid="{latent.channels: [3]}", seeds="[0]")
    tables = []
    for engine in ([], ["--engine", "ray", "--address", address]):
        out = tmp_path / f"out{len(engine)}"
        command = [*python_command("vaezoo.cli"), "ablate", question, "--out", out.name, "--no-report", "--jobs", "2"]
        done = subprocess.run([*command, *engine], env=os.environ | PATHS, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
        assert len(rows) == 2
        assert all(row.pop("seconds") > 0 and row["psnr"] > 0 for row in rows)
        tables.append(rows)
    assert tables[0] == tables[1]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_cluster_refuses_is_one_sentence(drive, address, tmp_path, monkeypatch):
    write_jobs(tmp_path, a="pass")
    refused = drive(RAY_AUTH_TOKEN="0" * 64).communicate()[0]
    assert f"InputError: {address}: the Ray cluster refuses the token of this process; set RAY_AUTH_MODE=" in refused
    with pytest.raises(InputError, match="--device cuda:1: Ray chooses the GPU of a job; leave --device out"):
        Engine("ray").check_device("cuda:1")
    monkeypatch.setattr(ray_cluster, "ANSWER", 5)
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(InputError, match=f"{where}: what listens there does not answer as a Ray cluster; start"):
            Engine("ray", address=where).run([], lambda *_: None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "0.0.7"}, rf": has vaezoo {__version__}, and this is vaezoo 0\.0\.7; install the same on each"),
        ({"folder": "/nowhere/at/all"}, r": has no folder /nowhere/at/all \(No such file or directory\); all machines"),
        ({"missing": "vaezoo.jobs.ray_task"}, r": vaezoo cannot be imported there \(.*\); install vaezoo .* on each"),
    ],
)
def test_a_machine_that_cannot_run_a_job_says_why(change, words, monkeypatch, tmp_path):
    if "missing" in change:
        monkeypatch.setitem(sys.modules, change.pop("missing"), None)
    call = {"version": __version__, "folder": str(tmp_path), "not_ours": [], "environment": {}} | change
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(ray_cluster._function()(*call.values()))


def test_a_job_in_a_task_prints_to_its_file_and_exits_as_a_process_would(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    call = ray_cluster._function(), (__version__, str(tmp_path), [], {}, "support.run_code")
    codes = {"print('a')": 0, "raise SystemExit('no')": 1, "raise SystemExit(75)": 75, "raise KeyboardInterrupt": -2}
    with capfd.disabled():  # it keeps what is printed
        for code, status in codes.items():
            assert call[0](*call[1], [code], "said.txt")[0] == status
        with pytest.raises(ZeroDivisionError):
            call[0](*call[1], ["1 / 0"], "said.txt")
    said = (tmp_path / "said.txt").read_text()
    assert said.startswith("a\nno\nTraceback")
    assert said.endswith("ZeroDivisionError: division by zero\n")


def test_an_address_where_no_cluster_is_is_refused_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(InputError, match=rf"127.0.0.1:{port}: no Ray cluster can be reached there \(Conn.*\); start"):
        ray_cluster._check_reachable(f"127.0.0.1:{port}")
    for wrong in ("somewhere", "ray://127.0.0.1:10001", ":6379", "host:port"):
        with pytest.raises(InputError, match=f"{wrong}: no address of a Ray cluster; expected HOST:PORT"):
            ray_cluster._check_reachable(wrong)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "ray"], '--engine ray needs Ray: pip install "vaezoo[ray]"'),
        (["--address", "127.0.0.1:6379"], "--address 127.0.0.1:6379: only --engine ray has an address; add it"),
        (["--jobs", "-1"], "--jobs -1: expected 1 or more"),
    ],
)
def test_a_missing_ray_and_wrong_arguments_are_one_sentence(arguments, words, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["ablate", "vae_f8_z4_micro", "--set", "latent.channels=8", "--out", str(tmp_path / "out")]
    assert main([*command, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vaezoo ablate: {words}")
    assert error.count("\n") == 1
    with pytest.raises(InputError, match="engine slurm: expected local or ray"):
        Engine("slurm")
