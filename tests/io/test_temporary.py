"""Temporary folders are removed, those of killed processes too, and errors in them say what helps."""

import os
import subprocess
import sys
import tempfile

import pytest
import torch
from support.disk import full_disk

from vaezoo.errors import CheckpointError, FileError
from vaezoo.io.files import write_text
from vaezoo.io.images import save_picture
from vaezoo.io.temporary import becoming_folder, folder_beside, scratch_folder, temporary_name


@pytest.fixture
def system(tmp_path, monkeypatch):
    """An empty folder in the place of the system's temporary one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_scratch_folder_is_removed_with_those_of_killed_processes(system):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    mine = temporary_name()
    elsewhere = mine.replace(mine.split("-")[4], "0" * 8)  # a living process of another machine may write here
    for name in (mine, mine.replace(str(os.getpid()), ended.stdout.strip()), elsewhere, "other"):
        (system / name).mkdir()
    with scratch_folder() as folder:
        assert folder.parent == system
        assert folder.stat().st_mode & 0o777 == 0o700  # the folder is shared with other users
    assert sorted(os.listdir(system)) == sorted([mine, elsewhere, "other"])


def test_a_file_that_a_killed_process_was_writing_is_removed_by_the_next_write_to_its_folder(tmp_path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    mine = temporary_name(".png")
    for name in (mine, mine.replace(str(os.getpid()), ended.stdout.strip()), "other.png"):
        (tmp_path / name).touch()
    save_picture(torch.zeros(1, 3, 4, 4), tmp_path / "new.png")
    assert sorted(os.listdir(tmp_path)) == sorted([mine, "new.png", "other.png"])


def test_a_full_scratch_folder_names_the_file_and_the_variable_that_helps(system):
    with pytest.raises(FileError) as raised, full_disk(10), scratch_folder() as folder:
        write_text(folder / "a.txt", "x" * 100)
    assert str(raised.value) == (
        f"{folder / 'a.txt'}: cannot be written (File too large); it is a temporary file: set TMPDIR to a folder with "
        "free space"
    )
    assert os.listdir(system) == []


def test_errors_about_other_files_pass_through_a_scratch_folder(system):
    with pytest.raises(FileError, match=r"^x: no$"), scratch_folder():
        raise FileError("x: no")


@pytest.mark.parametrize("error", [FileError, CheckpointError])
def test_errors_in_a_folder_beside_name_the_file_that_the_user_knows(tmp_path, error):
    with pytest.raises(error) as raised, folder_beside(tmp_path) as new:
        raise error(f"{new / 'a.txt'}: no")
    assert str(raised.value) == f"{tmp_path / 'a.txt'}: no"
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_a_file_error(tmp_path, monkeypatch):
    with pytest.raises(FileError, match="none: cannot be written"), folder_beside(tmp_path / "none"):
        pass
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(FileError, match=r"none.*: cannot be written .*: set TMPDIR"), scratch_folder():
        pass


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    new = tmp_path / "a" / "new"
    with becoming_folder(new) as temporary:
        (temporary / "x").write_text("1")
        assert not new.exists()
    assert (new / "x").read_text() == "1"
    assert new.stat().st_mode == (tmp_path / "a").stat().st_mode
    with pytest.raises(FileError, match=r"new/y: no space"), becoming_folder(tmp_path / "b" / "new") as temporary:
        raise FileError(f"{temporary}/y: no space")
    (tmp_path / "b" / "empty").mkdir()
    with becoming_folder(tmp_path / "b" / "empty"):
        pass
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["empty"]
    (tmp_path / "file").touch()
    for taken in (new, tmp_path / "file"):
        with (
            pytest.raises(FileError, match="is not an empty folder; name a new one"),
            becoming_folder(taken),
        ):
            pytest.fail("entered")
