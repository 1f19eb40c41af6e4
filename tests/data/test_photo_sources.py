"""Shards of WebDatasets, Parquet files, and what is beside a photo."""

import hashlib
import io
import os
import sys
import tarfile
import types

import pytest
from PIL import Image

from vaezoo.data.photo_place import PhotoPlace
from vaezoo.data.photos import photos
from vaezoo.data.tar_members import matching_paths
from vaezoo.errors import FileError, ImageError


def png(color, size=(3, 2)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, format="PNG")
    return file.getvalue()


def write_tar(path, files: dict[str, bytes], mtime=7) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), mtime
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def shards(tmp_path):
    """Two shards of a WebDataset, with three samples."""
    folder = tmp_path / "shards"
    folder.mkdir()
    write_tar(folder / "000.tar", {"b.png": png("red"), "b.txt": b"a red one", "b.cls": b"4", "a.png": png("lime")})
    write_tar(folder / "001.tar", {"c.jpg": png("blue"), "c.json": b'{"caption": "blue"}'})
    return folder


@pytest.mark.parametrize("source", ["", "/*.tar", "/{000..001}.tar", "/{000,001}.tar"])
def test_shards_of_a_webdataset_are_named_by_a_folder_or_a_pattern(shards, source):
    found = photos(f"{shards}{source}")
    assert [photo.name for photo in found] == ["a.png", "b.png", "c.jpg"]
    assert found[1].location == f"{shards}/000.tar[b.png]"
    assert found[1].read().getpixel((0, 0)) == (255, 0, 0)
    assert found[1].stat() == (len(png("red")), 7)
    assert [found[1].beside(suffix) for suffix in (".txt", ".cls", ".json")] == [b"a red one", b"4", None]
    assert found[2].beside(".json") == b'{"caption": "blue"}'


def test_a_pattern_expands_as_in_bash(tmp_path):
    for name in ("a09", "a10", "b09", "b10"):
        (tmp_path / name).touch()
    assert [path.name for path in matching_paths(f"{tmp_path}/{{b,a}}{{10..09}}")] == ["b10", "b09", "a10", "a09"]
    assert matching_paths(f"{tmp_path}/none") == []
    with pytest.raises(FileError, match=r"a11: no such file, and .*a\{09..11\} names it"):
        matching_paths(f"{tmp_path}/a{{09..11}}")
    with pytest.raises(FileError, match="no such file or folder"):
        photos(f"{tmp_path}/*.tar")


def test_a_photo_of_a_folder_has_the_text_beside_it_its_size_and_its_time(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "1.png").write_bytes(png("red"))
    (tmp_path / "x" / "1.txt").write_text("a cat")
    os.utime(tmp_path / "x" / "1.png", (5, 5.25))
    (photo,) = photos(tmp_path)
    assert (photo.beside(".txt"), photo.beside(".cls")) == (b"a cat", None)
    assert photo.stat() == (len(png("red")), 5.25)
    (tmp_path / "x" / "1.png").unlink()
    with pytest.raises(FileError, match=r"1\.png: cannot be read \(No such file"):
        photo.stat()


def test_another_process_reads_a_photo_by_its_place(shards):
    for photo in photos(shards):
        place = PhotoPlace.from_dict(photo.place.to_dict())
        assert place == photo.place
        digest, picture = place.hashed_picture()
        assert digest == place.sha256() == hashlib.sha256(png(photo.read().getpixel((0, 0)))).hexdigest()
        assert picture.size == place.size() == (3, 2)


def test_the_size_of_a_photo_is_that_of_the_upright_one_and_a_damaged_one_has_a_hash(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (5, 4)).save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "b.png").write_bytes(png("red")[:50])
    turned, damaged = photos(tmp_path)
    assert turned.place.size() == turned.read().size == (4, 5)
    digest, error = damaged.place.hashed_picture()
    assert digest == hashlib.sha256(png("red")[:50]).hexdigest()
    assert isinstance(error, ImageError)


def test_photos_in_a_column_of_parquet_files(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    colors, data = ["red", "lime", "blue"], tmp_path / "data"
    data.mkdir()
    structs = [{"bytes": png(color), "path": f"{color}.png"} for color in colors]
    table = pa.table({"image": structs, "caption": colors, "label": [3, 1, 2], "thumbnail": [b"", b"", b""]})
    pq.write_table(table, data / "a.parquet", row_group_size=2)
    odd = {"picture": [png("white"), None], "text": [["a", "b"], None], "label": [0.5, 2.0]}
    pq.write_table(pa.table(odd), data / "b.parquet")
    found = photos(data)
    assert [photo.name for photo in found] == [
        "a.parquet/0",
        "a.parquet/1",
        "a.parquet/2",
        "b.parquet/0",
        "b.parquet/1",
    ]
    assert [photo.name for photo in photos(data / "a.parquet")] == [photo.name for photo in found[:3]]
    assert [photo.beside(".txt") for photo in found[:3]] == [b"red", b"lime", b"blue"]
    assert (found[0].beside(".cls"), found[0].beside(".json"), found[4].beside(".cls")) == (b"3", None, b"2")
    for suffix, message in (
        (".txt", r"caption or text or prompt holds \['a', 'b'\], and"),
        (".cls", "holds 0.5, and not"),
    ):
        with pytest.raises(FileError, match=r"b\.parquet\[0\]: column .*" + message):
            found[3].beside(suffix)
    assert [photo.place.sha256() for photo in found[:3]] == [hashlib.sha256(png(c)).hexdigest() for c in colors]
    assert found[2].read().getpixel((0, 0)) == (0, 0, 255)
    assert found[2].stat() == (None, (data / "a.parquet").stat().st_mtime)
    with pytest.raises(ImageError, match=r"b\.parquet\[1\]: column picture holds no bytes"):
        found[4].read()


def test_parquet_files_without_one_column_of_pictures_damaged_or_shortened_are_refused(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(FileError, match=r"a\.parquet: damaged or not a Parquet file"):
        photos(path)
    pq.write_table(pa.table({"a": [b"x"], "b": [b"y"]}), path)
    with pytest.raises(FileError, match=r"columns a, b hold bytes, and one is expected"):
        photos(path)
    pq.write_table(pa.table({"a": ["x"]}), path)
    with pytest.raises(FileError, match="no column holds bytes"):
        photos(path)
    pq.write_table(pa.table({"a": [png("red"), png("red")]}), path)
    last = photos(path)[1]
    pq.write_table(pa.table({"a": [png("red")]}), path)
    with pytest.raises(FileError, match=r"a\.parquet\[1\]: the file has 1 rows"):
        last.read()


def test_parquet_files_need_an_extra_that_the_error_names(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(FileError, match=r'a\.parquet: Parquet files need pyarrow; pip install "vaezoo\[parquet\]"'):
        photos(tmp_path)


def test_items_of_datasets_have_the_labels_and_captions_of_their_columns(tmp_path, monkeypatch):
    class Columns(list):
        column_names = ("image", "text", "label")

        def __getitem__(self, key):
            return [item[key] for item in self] if isinstance(key, str) else super().__getitem__(key)

    class Dataset(list):
        def __init__(self, count, **more):
            super().__init__([(Image.new("RGB", (2, 2)), 0)] * count)
            vars(self).update(more)

    items = Columns({"image": {"bytes": png(color)}, "text": color, "label": 5} for color in ("red", "blue"))
    reader = types.SimpleNamespace(dataset=items, image_key="image")
    datasets = {"hfds/org/labels": Dataset(2, reader=reader), "torch/labels": Dataset(2, targets=[3, 1])}
    monkeypatch.setattr("timm.data.create_dataset", lambda name, *_: datasets[name])
    found = photos("hfds/org/labels")
    assert [(photo.beside(".cls"), photo.beside(".txt")) for photo in found] == [(b"5", b"red"), (b"5", b"blue")]
    assert found[1].place.hashed_picture()[1].getpixel((0, 0)) == (0, 0, 255)
    found = photos("torch/labels")
    assert [(photo.beside(".cls"), photo.beside(".txt")) for photo in found] == [(b"3", None), (b"1", None)]
    (tmp_path / "train" / "cats").mkdir(parents=True)
    (tmp_path / "train" / "cats" / "1.png").write_bytes(png("red"))
    assert photos("torch/image_folder", "train", tmp_path)[0].beside(".cls") == b"cats"
