"""Files are written atomically and read with clear errors."""

import os

import pytest

from vaezoo.errors import FileError, InputError
from vaezoo.io.files import make_folder, read_bytes, read_json, replacing, write_text


def test_text_is_written_whole_with_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "a.txt", "é")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9"
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_stood_there_stays_until_the_new_file_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".txt")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [InputError("no"), ValueError("no"), KeyboardInterrupt()])
def test_a_failure_passes_through_and_leaves_no_half_written_file(tmp_path, error):
    def write_half():
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert os.listdir(tmp_path) == []


def test_a_disk_that_is_full_is_a_file_error_with_the_name_that_was_asked_for(tmp_path):
    with pytest.raises(FileError) as caught, replacing(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert str(caught.value) == f"{tmp_path / 'a.txt'}: cannot be written (No space left on device)"
    assert os.listdir(tmp_path) == []


def test_a_path_that_cannot_be_written_is_a_file_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in ("none/a.txt", "file/a.txt"):
        with pytest.raises(FileError, match=r"a\.txt: cannot be written \(\w+"):
            write_text(tmp_path / path, "")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="cannot be written"):
        write_text(tmp_path / "folder", "")
    for path in ("", "/", "a\0b"):
        with pytest.raises(FileError, match="it names no file"):
            write_text(path, "")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_the_longest_file_name_of_the_system_can_be_written(tmp_path):
    write_text(tmp_path / ("n" * 251 + ".txt"), "x")
    assert (tmp_path / ("n" * 251 + ".txt")).read_text() == "x"


def test_a_file_is_read_up_to_a_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(FileError, match="larger than 4 bytes"):
        read_bytes(tmp_path / "a", 4)


def test_a_folder_is_made_with_its_parents_and_may_exist(tmp_path):
    assert make_folder(tmp_path / "a" / "b") == make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "a", "a\0b"):
        with pytest.raises(FileError, match="is not a folder and cannot be created"):
            make_folder(path)


def test_a_pipe_is_not_waited_on(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(FileError, match=r"pipe\.yaml: is a named pipe"):
        read_bytes(tmp_path / "pipe.yaml", 10)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\udcff"], ids=["cut", "deep", "no UTF-8"])
def test_damaged_json_is_a_file_error_with_its_remedy(tmp_path, text):
    (tmp_path / "x.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FileError, match=r"x\.json: damaged \(.*\); make it again"):
        read_json(tmp_path / "x.json", "make it again")
