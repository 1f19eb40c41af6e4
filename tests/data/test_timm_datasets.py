"""Datasets of timm: their files go through the decoder of vaezoo, in evaluation and in training."""

import gc
import io
import itertools
import json
import sys
import tarfile
import types

import numpy as np
import pytest
import torch.utils.data
from PIL import ExifTags, Image
from support.pictures import noise
from support.training import loader_of, tiny_recipe

from vaezoo.data.photos import photo_stream, photos
from vaezoo.data.settings import DataConfig
from vaezoo.errors import FileError, ImageError

# webdataset leaves it to the garbage collector to close its shards
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")


def pixels(photo) -> np.ndarray:
    return np.asarray(photo.read())


@pytest.fixture
def folder(tmp_path):
    """A photo that EXIF turns, a 16-bit gray one and a transparent one, as torchvision stores them."""
    place = tmp_path / "set" / "train" / "label"
    place.mkdir(parents=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(noise(40, 60)).save(place / "0.jpg", exif=exif)
    Image.fromarray(noise(44, 40, 1, np.uint16)).save(place / "1.png")
    Image.fromarray(noise(40, 48, 4)).save(place / "2.png")
    return place


def write_shard(folder, name, paths, label=False, text=True):
    """Write a tar as img2dataset does: a picture, its caption and its metadata under one key."""
    with tarfile.open(folder / name, "w") as tar:
        for number, path in enumerate(paths):
            files = {path.suffix: path.read_bytes()} | ({".txt": b"a caption", ".json": b"{}"} if text else {})
            for suffix, data in (files | ({".cls": b"0"} if label else {})).items():
                entry = tarfile.TarInfo(f"{number:09d}{suffix}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def write_info(folder, **split):
    (folder / "_info.json").write_text(json.dumps({"splits": {"train": split}}))


def test_a_torchvision_folder_is_read_like_a_folder(folder):
    root = folder.parents[1]
    found, expected = photos("torch/image_folder", "train", root), photos(folder)
    assert [photo.name for photo in found] == ["train/0", "train/1", "train/2"]
    for photo, same in zip(found, expected, strict=True):
        assert np.array_equal(pixels(photo), pixels(same))
    assert [pixels(photo).shape for photo in found] == [(60, 40, 3), (44, 40), (40, 48, 3)]
    trained = DataConfig(root=str(root), dataset="torch/image_folder", sizes=(8,)).photos()
    assert np.array_equal(pixels(trained[0]), pixels(expected[0]))


def test_the_root_of_a_torchvision_folder_is_a_folder_and_may_be_below_the_home_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(photos("torch/image_folder", "train", "~/set")) == 3
    for root in (None, tmp_path / "none"):
        with pytest.raises(FileError, match=rf"image_folder: its root \({root}\) is not a folder; set it"):
            photos("torch/image_folder", "train", root)


def test_datasets_of_arrays_are_read_too(monkeypatch):
    plain = [(Image.fromarray(noise(8, 8)), 0), (Image.new("L", (8, 8), 9), 1)]
    monkeypatch.setattr("timm.data.create_dataset", lambda *_: plain)
    first, second = photos("torch/cifar10", "test")
    assert np.array_equal(pixels(first), noise(8, 8))
    assert second.read().getpixel((0, 0)) == (9, 9, 9)


def test_a_web_dataset_needs_no_labels_and_is_read_like_a_folder(folder, tmp_path):
    write_shard(tmp_path, "00000.tar", sorted(folder.iterdir()))
    stream = photo_stream("wds/x", "00000.tar", str(tmp_path), seed=0)
    twice = list(itertools.islice(stream, 6))  # begins again after the last one
    by_key = {photo.name: photo for photo in twice}
    assert sorted(by_key) == ["wds/x[000000000.jpg]", "wds/x[000000001.png]", "wds/x[000000002.png]"]
    for name, same in zip(sorted(by_key), photos(folder), strict=True):
        assert np.array_equal(pixels(by_key[name]), pixels(same))


def test_hidden_pictures_of_a_web_dataset_are_passed_over(folder, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("@eaDir/0.jpg", ".ipynb_checkpoints/0.jpg", "._0.jpg", "a/0.jpg"):
            tar.add(folder / "0.jpg", name)
    stream = photo_stream("wds/x", "a.tar", str(tmp_path), seed=0)
    assert [next(stream).name for _ in range(2)] == ["wds/x[a/0.jpg]"] * 2


def test_labels_of_a_web_dataset_do_not_matter(folder, tmp_path):
    write_shard(tmp_path, "a.tar", [folder / "2.png"], label=True, text=False)
    write_info(tmp_path, name="train", filenames=["a.tar"], shard_lengths=[1], num_samples=1, alt_label="missing")
    photo = next(photo_stream("wds/x", "train", str(tmp_path), seed=0))
    assert np.array_equal(pixels(photo), pixels(photos(folder)[2]))


def test_training_reads_a_web_dataset_and_names_its_bad_pictures(folder, tmp_path):
    (folder / "3.png").write_bytes(b"\x89PNG damaged")
    Image.new("RGB", (10, 10)).save(folder / "4.png")
    write_shard(tmp_path, "00000.tar", sorted(folder.iterdir()))
    settings = ("data.dataset=wds/x", f"data.root={tmp_path}", "data.split=00000.tar", "data.sizes=[16]")
    found = list(loader_of(tiny_recipe(tmp_path, *settings)))
    assert [batch.numbers for batch in found] == [[2 * n, 2 * n + 1] for n in range(6)]
    told = sorted({text.partition(":")[0] for batch in found for text in batch.bad})
    assert told == ["wds/x[000000003.png]", "wds/x[000000004.png]"]


def test_a_pass_without_photos_is_an_error(folder, tmp_path):
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(FileError, match=r"wds/x: no photos in split empty\.tar; choose another split"):
        next(photo_stream("wds/x", "empty.tar", str(tmp_path), seed=0))
    (folder / "caption.txt").write_text("text")
    write_shard(tmp_path, "texts.tar", [folder / "caption.txt"])
    with pytest.raises(FileError, match=r"wds/x: no photos in split texts\.tar"):
        next(photo_stream("wds/x", "texts.tar", str(tmp_path), seed=0))


def test_more_workers_than_shards_is_an_error(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)  # the wait for workers that failed
    write_shard(tmp_path, "00000.tar", sorted(folder.iterdir()))
    settings = ("data.dataset=wds/x", f"data.root={tmp_path}", "data.split=00000.tar", "data.sizes=[16]")
    with pytest.raises(FileError, match=r"1 shards in split 00000\.tar for 2 loading processes"):
        list(loader_of(tiny_recipe(tmp_path, *settings, "data.workers=2")))
    gc.collect()  # ends the workers


@pytest.mark.parametrize("key", ["name", "filenames", "shard_lengths", "num_samples"])
def test_an_incomplete_info_file_is_named_with_what_it_lacks(tmp_path, key):
    whole = {"name": "train", "filenames": ["a.tar"], "shard_lengths": [3], "num_samples": 3}
    write_info(tmp_path, **{name: value for name, value in whole.items() if name != key})
    with pytest.raises(FileError, match=rf"wds/x: its _info\.json lacks '{key}'; each of its splits takes name, "):
        next(photo_stream("wds/x", "train", str(tmp_path), seed=0))
    (tmp_path / "_info.json").write_text("[]")
    with pytest.raises(FileError, match=r"wds/x: timm cannot open this dataset \(AttributeError"):
        next(photo_stream("wds/x", "train", str(tmp_path), seed=0))
    write_info(tmp_path, **{name: value for name, value in whole.items() if name != key})
    with pytest.raises(FileError, match=r"its _info\.json lacks .*--set 'data\.split=\"\{00000\.\.00009\}\.tar\"'"):
        DataConfig(root=str(tmp_path), dataset="wds/x", sizes=(8,)).check_source()


class HuggingFace:
    """What timm's `hfds/` gives, without its labels: a reader whose dataset has undecoded pictures."""

    def __init__(self, items):
        self.reader = types.SimpleNamespace(dataset=[{"photo": item} for item in items], image_key="photo")

    def __len__(self):
        return len(self.reader.dataset)


def test_a_hugging_face_dataset_is_read_like_a_folder(folder, monkeypatch):
    turned, gray, clear = sorted(folder.iterdir())
    items = [{"bytes": turned.read_bytes(), "path": None}, {"bytes": None, "path": str(gray)}]
    items += [{"bytes": clear.read_bytes(), "path": "2.png"}, {"bytes": b"\x89PNG damaged", "path": None}, None]
    monkeypatch.setattr("timm.data.create_dataset", lambda *_: HuggingFace(items))
    *found, damaged, none = photos("hfds/org/name")
    for photo, same in zip(found, photos(folder), strict=True):
        assert np.array_equal(pixels(photo), pixels(same))
    with pytest.raises(ImageError, match=r"hfds/org/name\[3\]"):
        damaged.read()
    with pytest.raises(ImageError, match=r"hfds/org/name\[4\]: the item holds no picture"):
        none.read()


class Undecoded:
    """A streamed dataset of `datasets` whose pictures are cast to their undecoded form."""

    def __init__(self, items, decode=True):
        self.items, self.decode = items, decode

    def cast_column(self, key, feature):
        assert key == "image"
        return Undecoded(self.items, feature.decode)

    def set_epoch(self, epoch):
        assert epoch == 0

    def __iter__(self):
        assert not self.decode
        return ({"image": item} for item in self.items)


def test_a_hugging_face_stream_is_read_like_a_folder(folder, monkeypatch):
    items = [{"bytes": path.read_bytes(), "path": None} for path in sorted(folder.iterdir())]
    reader = types.SimpleNamespace(ds=Undecoded(items), input_key="image", epoch=types.SimpleNamespace(value=0))
    reader._lazy_init = lambda: None
    monkeypatch.setattr("timm.data.create_dataset", lambda *_, **__: types.SimpleNamespace(reader=reader))
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(Image=types.SimpleNamespace))
    found = itertools.islice(photo_stream("hfids/org/name", "train", None, 0), 6)
    for photo, same in zip(found, photos(folder) * 2, strict=True):
        assert np.array_equal(pixels(photo), pixels(same))


def test_a_tensorflow_stream_is_read_like_a_folder(folder, monkeypatch):
    skip = object()
    reader = types.SimpleNamespace(input_key="image", items=[path.read_bytes() for path in sorted(folder.iterdir())])

    def start():
        assert reader._input_decoders() == {"image": skip}
        reader.ds = [{"image": item} for item in reader.items]

    reader._lazy_init = start
    monkeypatch.setattr("timm.data.create_dataset", lambda *_, **__: types.SimpleNamespace(reader=reader))
    decode = types.SimpleNamespace(SkipDecoding=lambda: skip)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", types.SimpleNamespace(decode=decode))
    found = itertools.islice(photo_stream("tfds/name", "train", None, 0), 3)
    for photo, same in zip(found, photos(folder), strict=True):
        assert np.array_equal(pixels(photo), pixels(same))
