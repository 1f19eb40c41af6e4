"""One shard: its tensors, its manifest, and sums that can be merged."""

import json

import numpy as np
import pytest
import torch

from vaezoo.errors import FileError
from vaezoo.io.temporary import temporary_name
from vaezoo.latents.channel_sums import ChannelSums
from vaezoo.latents.shard_files import (
    METADATA,
    SHARDS,
    ManifestLine,
    manifest_path,
    modes,
    open_shard,
    read_header,
    read_shard,
    shard_name,
    tensors_path,
    write_shard,
)

NAME = shard_name(3, "32x16")
PLACE = {"source": "/x/a/1.png", "size": 9, "mtime": 1.25, "sha256": "0" * 64}
LINES = (
    ManifestLine(key="a/1.png", row=0, **PLACE, crop=(0.5, 0, 32.5, 16)),
    ManifestLine(key="é.png", row=None, source="/x/é.png", bad="cut off", label="a", caption="two\nlines\u2028and 3"),
    ManifestLine(key="b.png", row=1, source="/x/b.png", resized=(32, 16), label=3),
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / SHARDS).mkdir()
    return tmp_path


def tensors(dtype=torch.bfloat16):
    moments = torch.randn(2, 8, 2, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    return {"moments": moments, "moments_flip": moments.flip(-1).contiguous(), "index": torch.tensor([7, 9])}


def test_a_shard_is_read_as_it_was_written(folder):
    written = write_shard(folder, NAME, tensors(), LINES)
    header, lines = read_shard(folder, NAME)
    assert header == written
    assert (header.bucket, header.count) == ("32x16", 2)
    assert lines == list(LINES)
    shard = open_shard(folder, NAME)
    assert sorted(shard.keys()) == ["index", "moments", "moments_flip"]
    assert torch.equal(shard.get_slice("moments")[1:2], tensors()["moments"][1:2])
    assert not any(path.name.startswith(".") for path in (folder / SHARDS).iterdir())


def test_equal_shards_are_equal_bytes(folder, tmp_path):
    write_shard(folder, NAME, tensors(), LINES)
    paths = manifest_path(folder, NAME), tensors_path(folder, NAME)
    first = [path.read_bytes() for path in paths]
    (folder / SHARDS / temporary_name()).write_bytes(b"of a killed process")
    write_shard(folder, NAME, tensors(), LINES)
    assert [path.read_bytes() for path in paths] == first


@pytest.mark.parametrize("pack", [1, 2])
def test_merged_sums_are_the_statistics_of_all_latents_at_once(pack):
    latents = torch.randn(5, 3, 4, 6) * 3 + 100
    parts = [ChannelSums.of(part, pack) for part in latents.split(2)]
    merged = ChannelSums.merged(ChannelSums.from_dict(json.loads(json.dumps(part.to_dict()))) for part in parts)
    assert merged == ChannelSums.merged(reversed(parts))
    packed = torch.nn.functional.pixel_unshuffle(latents.double(), pack)
    stats = merged.latent_stats
    assert np.allclose(stats.mean, packed.mean(dim=(0, 2, 3)), rtol=1e-9)
    assert np.allclose(stats.std, packed.std(dim=(0, 2, 3), correction=0), rtol=1e-9)
    assert stats.pack == (None if pack == 1 else 2)
    stats.check(3, "test")


def test_no_latents_and_constant_ones_have_no_statistics(folder):
    header = write_shard(folder, NAME, {"mean": torch.zeros(0, 4, 2, 4), "index": torch.zeros(0).long()}, LINES[1:2])
    assert header.count == header.sums.count == 0
    assert header.sums.latent_stats is None
    assert ChannelSums.of(torch.full((2, 1, 3, 3), 0.1)).latent_stats is None
    assert read_header(folder, NAME) == header


def test_modes_are_the_mean_or_half_of_the_moments():
    x = tensors()
    assert torch.equal(modes(x), x["moments"][:, :4])
    assert modes({"mean": x["moments"]}) is x["moments"]


def test_files_that_are_missing_damaged_or_do_not_belong_together_are_named(folder):
    with pytest.raises(FileError, match=r"00003-32x16\.safetensors: missing or damaged"):
        read_header(folder, NAME)
    write_shard(folder, NAME, tensors(), LINES)
    manifest_path(folder, NAME).write_text('{"key": "a", "row": 0, "source": ""}\n')
    with pytest.raises(FileError, match=r"32x16\.jsonl: not the manifest of the tensors beside it; encode"):
        read_shard(folder, NAME)
    for text in ("{}\n", "[" * 100_000):
        manifest_path(folder, NAME).write_text(text)
        with pytest.raises(FileError, match=r"32x16\.jsonl: damaged"):
            read_shard(folder, NAME)
    tensors_path(folder, NAME).write_bytes(b"cut off")
    with pytest.raises(FileError, match=r"32x16\.safetensors: missing or damaged.*makes only what is missing"):
        read_shard(folder, NAME)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "not a shard of latents"),
        *(({METADATA: text}, "not a shard of latents") for text in ("{", "7", "[1]", "[" * 100_000)),
        ({METADATA: '{"format": "vaezoo-latents", "version": 2}'}, "version 2 of the format, and this vaezoo reads 1"),
        ({METADATA: "{}"}, "not written by vaezoo encode"),
    ],
)
def test_a_file_of_another_format_or_version_is_refused(folder, metadata, message):
    from safetensors.torch import save_file

    save_file({"moments": torch.zeros(1)}, tensors_path(folder, NAME), metadata)
    with pytest.raises(FileError, match=message):
        read_header(folder, NAME)
