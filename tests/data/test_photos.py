"""Photos of folders, tar files and datasets of timm, by one grammar."""

import os
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image
from support.training import write_photos
from timm.data import create_dataset
from timm.utils.misc import natural_key

from vaezoo.data import photo_files
from vaezoo.data.photo_files import split_folder
from vaezoo.data.photos import photos
from vaezoo.data.settings import DataConfig, _natural
from vaezoo.errors import FileError, ImageError, InputError


@pytest.mark.parametrize("name", ["b/IMG_10.png", "B/img_2.PNG", "007", "", "١٢.png", "a²b.png"])
def test_photos_are_sorted_by_the_key_of_timm(name):
    assert _natural(name) == natural_key(name)


def test_a_name_with_digits_that_are_no_numbers_is_sorted():
    assert _natural("10²3.png") == ["", 10, "²", 3, ".png"]  # which timm's key cannot read


def test_training_numbers_photos_of_folders_and_tars_as_timm_does(tmp_path):
    for name in ("b/10.png", "b/9.PNG", "a2.png", "A10.png", "a/1.png", "B2/x.jpg", "b/010x.webp"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(tmp_path / "set" / name)
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for path in sorted((tmp_path / "set").rglob("*.[pP][nN][gG]")):
            tar.add(path, path.relative_to(tmp_path / "set").as_posix())
    theirs = create_dataset("", str(tmp_path / "set"), input_key=".png;.jpg;.webp")
    ours = DataConfig(root=str(tmp_path / "set"), sizes=(8,)).photos()
    assert [photo.name for photo in ours] == theirs.filenames()
    theirs = create_dataset("", str(tmp_path / "set.tar"))
    ours = DataConfig(root=str(tmp_path / "set.tar"), sizes=(8,)).photos()
    assert [photo.name for photo in ours] == theirs.filenames()


def test_a_split_is_a_subfolder_of_its_name_or_a_synonym_and_else_the_folder(tmp_path):
    write_photos(tmp_path / "train", count=3)
    write_photos(tmp_path / "val", count=2)
    assert [len(photos(tmp_path, split)) for split in (None, "train", "validation", "val", "test")] == [5, 3, 2, 2, 5]
    assert split_folder(tmp_path, "validation") == tmp_path / "val"
    assert len(DataConfig(root=str(tmp_path), sizes=(8,)).photos()) == 3


def test_linked_folders_are_followed(tmp_path):
    write_photos(tmp_path / "there", count=2)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "there")
    assert [photo.name for photo in photos(tmp_path / "set")] == ["link/0.png", "link/1.png"]


def test_every_source_passes_over_the_same_files(tmp_path):
    place = tmp_path / "set" / "label"
    hidden = ["@eaDir/1.png/thumb.jpg", "../__MACOSX/label/x.png", "._1.png", ".ipynb_checkpoints/1.png", "a/.b/c.png"]
    for name in ("1.png", "2.PNG", "..png/3.png", *hidden, "notes.txt"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(place / name, format="PNG")
    (tmp_path / "there").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "there" / "4.png")
    (place / "link").symlink_to(tmp_path / "there")
    with tarfile.open(tmp_path / "set.tar", "w", dereference=True) as tar:
        for folder in ("label", "__MACOSX"):
            tar.add(tmp_path / "set" / folder, folder)
        tar.add(place / "1.png", "._more.tar")  # as macOS adds it to what it packs
    names = ["label/1.png", "label/2.PNG", "label/link/4.png"]
    assert [photo.name for photo in photos(tmp_path / "set")] == names
    assert [photo.name for photo in photos(tmp_path / "set.tar")] == names
    trained = DataConfig(root=str(tmp_path / "set"), sizes=(8,)).photos()
    assert [photo.name for photo in trained] == names
    labeled = photos("torch/image_folder", "train", tmp_path / "set")
    assert [photo.location for photo in labeled] == [str(tmp_path / "set" / name) for name in names]


def test_links_to_a_folder_that_contains_them_are_not_followed(tmp_path):
    for name in ("a", "b"):
        write_photos(tmp_path / "set" / name, count=1)
    (tmp_path / "set" / "a" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "a" / "b").symlink_to(tmp_path / "set" / "b")
    (tmp_path / "set" / "b" / "a").symlink_to(tmp_path / "set" / "a")
    (tmp_path / "set" / "self").symlink_to("self")
    names = [photo.name for photo in photos(tmp_path / "set")]
    assert names == ["a/0.png", "a/b/0.png", "b/0.png", "b/a/0.png"]


def test_folders_that_all_link_to_each_other_are_an_error_and_no_endless_list(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_files, "MOST_LINKS", 5)
    folders = [tmp_path / f"{number}" for number in range(4)]
    for folder in folders:
        folder.mkdir()
    for folder in folders:
        for other in folders:
            (folder / f"to{other.name}").symlink_to(other)
    with pytest.raises(FileError, match=r"links lead to it in over 5 ways, such as .*; remove links among its"):
        photos(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write_photos(tmp_path / "set" / "a", count=1)
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scan(path if path.name != "a" else tmp_path / "none"))
    with pytest.raises(FileError, match=r"set/a: cannot be read \(No such file or directory\); change its permissions"):
        photos(tmp_path / "set")


def test_tars_in_a_tar_are_read_where_they_are(tmp_path):
    write_photos(tmp_path / "set", count=2)
    for inner, outer, name in (("set", "inner.tar", "x"), ("inner.tar", "outer.tar", "y/inner.tar")):
        with tarfile.open(tmp_path / outer, "w") as tar:
            tar.add(tmp_path / inner, name)
    found = photos(tmp_path / "outer.tar")
    assert [photo.name for photo in found] == ["y/inner.tar/x/0.png", "y/inner.tar/x/1.png"]
    for photo, expected in zip(found, photos(tmp_path / "set"), strict=True):
        assert np.array_equal(np.asarray(photo.read()), np.asarray(expected.read()))


def test_no_source_is_the_sample_photos():
    assert len(photos(None)) == len(DataConfig(sizes=(8,)).photos()) == 4


def test_photos_of_a_tar_are_read_one_by_one_and_a_damaged_one_is_named(tmp_path):
    Image.new("RGB", (5, 4), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG damaged")
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for name in ("b.png", "a.png"):
            tar.add(tmp_path / name, f"c/{name}")
    good, bad = photos(tmp_path / "set.tar")
    assert good.read().getpixel((0, 0)) == (255, 0, 0)
    with pytest.raises(ImageError, match=r"set\.tar\[c/b\.png\]"):
        bad.read()
    (tmp_path / "bad.tar").write_bytes(b"no archive at all")
    whole, at = (tmp_path / "set.tar").read_bytes(), 1024  # the header of the second member
    for damaged in (
        b"no archive at all",
        whole[:at],
        whole[: at + 100],
        whole[:at] + b"x" * 512 + whole[at + 512 :],
        whole * 2,
    ):
        (tmp_path / "bad.tar").write_bytes(damaged)
        with pytest.raises(FileError, match=r"bad\.tar: not a whole, uncompressed \.tar file \(.*\); pack"):
            photos(tmp_path / "bad.tar")


def test_a_dataset_of_timm_is_known_by_its_name(monkeypatch):
    import timm.data

    def create_dataset(name, root, split):
        assert (name, root, split) == ("torch/cifar10", "there", "test")
        return [(Image.new("RGB", (2, 2), color), 0) for color in ("red", "blue")]

    monkeypatch.setattr(timm.data, "create_dataset", create_dataset)
    first, second = photos("torch/cifar10", "test", "there")
    assert (first.name, second.name) == ("test/0", "test/1")
    assert second.read().getpixel((0, 0)) == (0, 0, 255)


def test_a_dataset_that_is_not_there_or_is_streamed_is_refused(tmp_path, monkeypatch):
    with pytest.raises(FileError, match="torch/cifar10: timm cannot open"):
        photos("torch/cifar10", "test", tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(FileError, match=r"hfds/org/name: timm cannot open.*datasets"):
        photos("hfds/org/name")
    with pytest.raises(InputError, match="wds/x: streamed"):
        photos("wds/x")
