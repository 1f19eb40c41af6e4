"""Weights files: what is read, cast, compared and refused, and that nothing is ever half written."""

import os
import pickle
import resource
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.representatives import one_of_each

import vaezoo
from vaezoo.errors import CheckpointError, FileError, InputError
from vaezoo.io.files import sha256_of
from vaezoo.weights import load as loading
from vaezoo.weights import tensors as reading
from vaezoo.weights.header import read_header
from vaezoo.weights.header_diff import header_diff
from vaezoo.weights.load import check_sha256

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


@pytest.fixture(scope="module")
def vae():
    return vaezoo.create("vae_f8_z4_micro")


@pytest.fixture
def path(vae, tmp_path):
    vaezoo.export_checkpoint(vae, tmp_path / "x.safetensors")
    return tmp_path / "x.safetensors"


def tensors(vae) -> list[torch.Tensor]:
    return list(vae.state_dict().values())


@pytest.mark.parametrize("code", one_of_each(DTYPES, lambda code: code == "BF16"))
def test_files_of_every_precision_load_as_asked_or_as_they_are(vae, tmp_path, code):
    path = tmp_path / "x.safetensors"
    vaezoo.export_checkpoint(vae, path, dtype=DTYPES[code])
    assert set(read_header(path).dtypes.values()) == {code}
    kept, single, half = (vaezoo.create(f"file:{path}", dtype=d) for d in (None, torch.float32, torch.float16))
    assert (kept.dtype, single.dtype, half.dtype) == (DTYPES[code], torch.float32, torch.float16)
    assert vaezoo.create(f"file:{path}").dtype == torch.float32
    for original, a, b, c in zip(*map(tensors, (vae, kept, single, half)), strict=True):
        assert torch.equal(a, original.to(DTYPES[code]))
        assert torch.equal(b, a.float())
        assert torch.equal(c, a.half())


def test_loading_draws_no_random_number_and_leaves_no_tensor_on_meta(path):
    before = torch.get_rng_state()
    loaded = vaezoo.create(f"file:{path}")
    vaezoo.create("vae_f8_z4", pretrained=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(t.is_meta for t in tensors(loaded))
    assert all(p.requires_grad and p.is_leaf for p in loaded.parameters())


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_loaded_weights_do_not_point_into_the_file(path, dtype):
    loaded = vaezoo.create(f"file:{path}", dtype=dtype)
    before = [t.clone() for t in tensors(loaded)]
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\0" * size)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors(loaded), strict=True))


def test_load_checkpoint_keeps_precision_and_mode_and_forgets_the_old_statistics(vae, path):
    other = vaezoo.create("vae_f8_z4_micro").bfloat16().train()
    other.latent_stats = vaezoo.LatentStats(scale=2.0)
    assert vaezoo.load_checkpoint(other, path) is other
    assert other.latent_stats is None
    assert other.training
    for loaded, original in zip(tensors(other), tensors(vae), strict=True):
        assert torch.equal(loaded, original.bfloat16())


def test_a_file_of_another_network_is_refused_with_a_short_readable_diff(vae, path):
    content = load_file(path)
    content["encoder.0.wieght"] = content.pop("encoder.0.weight")
    content["decoder.1.bias"] = torch.zeros(7)
    content |= {f"loss.{i}": torch.zeros(1) for i in range(20)}
    save_file(content, path)
    before = [t.clone() for t in tensors(vae)]
    with pytest.raises(CheckpointError) as caught:
        vaezoo.load_checkpoint(vae, path)
    text = str(caught.value)
    assert "does not fit vae_f8_z4_micro (layout native): 1 missing, 21 unexpected, 1 of another shape" in text
    assert "missing     encoder.0.weight (16, 3, 3, 3)   (similar: encoder.0.wieght)" in text
    assert "shape       decoder.1.bias (7,), expected (48,)" in text
    assert "… and 13 more" in text
    assert len(text.splitlines()) < 15
    assert all(torch.equal(a, b) for a, b in zip(before, tensors(vae), strict=True))


def test_hostile_names_and_shapes_are_cut_and_shown_without_control_characters():
    found = {"a\x1b[2Jb": (1,), "n" * 10_000: (1,) * 10_000, "w\n": (2,)}
    text = header_diff({"w": (2,)}, found)
    assert text.splitlines()[0] == "1 missing, 3 unexpected, 0 of another shape"
    assert all(line.isprintable() and len(line) < 300 for line in text.splitlines())
    assert header_diff({"w": (2,)}, {"w": (2,)}) is None


def test_a_tensor_that_is_no_weight_is_refused(vae, path):
    save_file({**load_file(path), "encoder.0.bias": torch.zeros(16, dtype=torch.int64)}, path)
    with pytest.raises(CheckpointError, match="tensors of type I64; vaezoo reads F64, F32, F16, BF16"):
        vaezoo.load_checkpoint(vae, path)
    with pytest.raises(InputError, match=r"not torch.int32"):
        vaezoo.create("vae_f8_z4", pretrained=True, dtype=torch.int32)


def test_a_file_cut_off_anywhere_is_refused(vae, path):
    content, before = path.read_bytes(), [t.clone() for t in tensors(vae)]
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for length in [*range(9), 100, header - 1, header, header + 1, len(content) // 2, len(content) - 1]:
        path.write_bytes(content[:length])
        for read in (read_header, vaezoo.recognize, lambda p: vaezoo.load_checkpoint(vae, p)):
            with pytest.raises(CheckpointError, match="not a whole safetensors file"):
                read(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        read_header(path)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors(vae), strict=True))


def test_pickles_are_refused_unopened_whatever_their_name(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    path = tmp_path / "x.safetensors"
    for write in (
        lambda: torch.save({"w": Trap()}, path),
        lambda: torch.save({"w": Trap()}, path, _use_new_zipfile_serialization=False),
        *(lambda p=p: path.write_bytes(pickle.dumps(Trap(), protocol=p)) for p in (2, 3, 4, 5)),
    ):
        write()
        with pytest.raises(CheckpointError, match=r"a pickle, which can run code.*safetensors only.*--from-pickle"):
            vaezoo.create(f"file:{path}")
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_what_is_no_file_is_named_so(vae, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    missing = [tmp_path / "none", tmp_path / "pipe", tmp_path / ("n" * 300), tmp_path / "a\0b"]
    for path, text in [*((p, "no such file") for p in missing), (tmp_path, "a folder; write local-dir:")]:
        for read in (vaezoo.recognize, lambda p: vaezoo.load_checkpoint(vae, p)):
            with pytest.raises(FileError, match=text):
                read(path)
    with pytest.raises(FileError, match="cannot be read"):
        sha256_of(tmp_path / "none")


def test_sha256_is_the_published_one_and_a_difference_names_both(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "x") == known
    check_sha256(tmp_path / "x", known)
    check_sha256(tmp_path / "x", None)
    with pytest.raises(CheckpointError, match=f"sha256 is {known}, on record is 00"):
        check_sha256(tmp_path / "x", "0" * 64)


def test_equal_weights_are_equal_files_and_carry_the_spec_hash(vae, path, tmp_path):
    vaezoo.export_checkpoint(vae.to(memory_format=torch.channels_last), tmp_path / "y.safetensors")
    assert path.read_bytes() == (tmp_path / "y.safetensors").read_bytes()
    assert read_header(path).metadata == {"vaezoo_spec_hash": vae.spec.hash}


def test_an_export_that_fails_leaves_what_was_there_and_nothing_else(vae, path, tmp_path):
    before, (soft, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # as a full disk would, in the middle of the file
    try:
        with pytest.raises(FileError, match=r"x.safetensors: cannot be written"):
            vaezoo.export_checkpoint(vae, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    read_only = Path("/proc/x.safetensors")  # even for the superuser
    for target in (tmp_path / "none" / "x.safetensors", path / "x.safetensors", tmp_path, read_only):
        with pytest.raises(FileError, match="cannot be written"):
            vaezoo.export_checkpoint(vae, target)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_exported_says_why(vae, tmp_path):
    with torch.device("meta"):
        empty = vaezoo.create("vae_f8_z4_micro")
    with pytest.raises(CheckpointError, match="on the meta device"):
        vaezoo.export_checkpoint(empty, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"not torch.int8"):
        vaezoo.export_checkpoint(vae, tmp_path / "x.safetensors", dtype=torch.int8)
    assert list(tmp_path.iterdir()) == []


def test_tensors_are_read_by_one_thread_and_the_threads_come_back(vae, path, monkeypatch):
    threads, counts = torch.get_num_threads(), []
    torch.set_num_threads(3)

    def failing(*_):
        counts.append(torch.get_num_threads())
        raise CheckpointError("x")

    try:
        vaezoo.load_checkpoint(vae, path)
        assert torch.get_num_threads() == 3
        monkeypatch.setattr(loading, "cast_finite", failing)
        with pytest.raises(CheckpointError):
            vaezoo.load_checkpoint(vae, path)
        assert [*counts, torch.get_num_threads()] == [1, 3]
    finally:
        torch.set_num_threads(threads)


def test_loading_into_a_live_model_keeps_its_parameters_and_memory_format(vae, path):
    vae = vae.to(memory_format=torch.channels_last)
    held = list(vae.parameters())
    vaezoo.load_checkpoint(vae, path)
    assert all(a is b for a, b in zip(held, vae.parameters(), strict=True))
    assert vae.encoder[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_loading_into_a_model_on_meta_brings_it_to_the_default_device(vae, path):
    empty = vaezoo.create("vae_f8_z4_micro", device="meta")
    vaezoo.load_checkpoint(empty, path)
    assert all(torch.equal(a, b) for a, b in zip(tensors(vae), tensors(empty), strict=True))


def test_a_file_is_mapped_in_parts_and_its_replacement_meanwhile_is_noticed(vae, path, monkeypatch):
    loaded = vaezoo.create(f"file:{path}")
    opened, real = [], reading._opened
    monkeypatch.setattr(reading, "_MAPPED", 0)  # bytes after which the memory of what was read is returned
    monkeypatch.setattr(reading, "_opened", lambda file: opened.append(file) or real(file))
    again = vaezoo.create(f"file:{path}")
    assert len(opened) == len(tensors(vae))
    assert all(torch.equal(a, b) for a, b in zip(tensors(loaded), tensors(again), strict=True))

    def replaced(file):
        vaezoo.export_checkpoint(vae, path)
        return real(file)

    monkeypatch.setattr(reading, "_opened", replaced)
    with pytest.raises(CheckpointError, match="was replaced while it was read; load it again"):
        vaezoo.create(f"file:{path}")
