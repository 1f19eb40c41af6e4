"""Paths to write to: links, devices, pipes, commas and `~`."""

import os

import pytest

import vaezoo
from vaezoo.cli import main


@pytest.fixture(scope="module")
def vae():
    return vaezoo.create("vae_f8_z4_micro")


def test_a_linked_output_stays_a_link(vae, tmp_path):
    target, link = tmp_path / "target.safetensors", tmp_path / "link.safetensors"
    target.touch()
    link.symlink_to(target)
    vaezoo.export_checkpoint(vae, link)
    assert link.is_symlink()
    assert target.stat().st_size > 0


def test_a_pipe_or_device_is_refused_and_stays(vae, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "full").symlink_to("/dev/full")
    for name in ("pipe", "full"):
        with pytest.raises(vaezoo.FileError, match="it is a device or pipe, not a regular file"):
            vaezoo.export_checkpoint(vae, tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["full", "pipe"]


def test_a_folder_with_a_comma_in_its_name_can_be_saved_to(vae, tmp_path):
    folder = vaezoo.save(vae, tmp_path / "a,b")
    assert vaezoo.create(f"local-dir:{folder}", pretrained=True).spec == vae.spec


def test_a_tilde_is_the_home_folder(vae, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert vaezoo.save(vae, "~/x") == tmp_path / "x"
    vaezoo.export_checkpoint(vae, "~/y.safetensors")
    assert sorted(os.listdir(tmp_path)) == ["x", "y.safetensors"]
    for name in ("local-dir:~/x", "file:~/y.safetensors"):
        assert vaezoo.create(name, pretrained=True).spec == vae.spec


def test_a_file_in_a_folder_with_a_comma_is_one_file(vae, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("a,b")
    for path in ("a,b/x.safetensors", f"{tmp_path}/a,b/y.safetensors"):
        vaezoo.export_checkpoint(vae, path)
        with pytest.raises(vaezoo.FileError, match=r"a,b/missing.safetensors: no such file"):
            vaezoo.create("file:a,b/missing.safetensors")
    assert main(["convert", "a,b/x.safetensors", "a,b/z.safetensors"]) == 0
    assert sorted(os.listdir("a,b")) == ["x.safetensors", "y.safetensors", "z.safetensors"]


def test_of_two_files_none_is_replaced_if_one_cannot_be_written(tmp_path):
    taesd, encoder = vaezoo.create("taesd_f8_z4"), tmp_path / "encoder.safetensors"
    encoder.write_bytes(b"old")
    with pytest.raises(vaezoo.FileError, match="/dev/full: cannot be written"):
        vaezoo.export_checkpoint(taesd, f"{encoder},/dev/full", layout="taesd")
    assert encoder.read_bytes() == b"old"
    with pytest.raises(vaezoo.FileError, match="names one file for encoder and decoder; name two"):
        vaezoo.export_checkpoint(taesd, f"{encoder},{tmp_path}/./encoder.safetensors", layout="taesd")
    assert os.listdir(tmp_path) == ["encoder.safetensors"]
    assert encoder.read_bytes() == b"old"
