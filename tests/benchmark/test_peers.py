"""The peers of the benchmark: the same function as ours, and refused where they do not have the network."""

import io
import json
import sys

import pytest
import torch
from safetensors.torch import load_file

import vaezoo
from vaezoo.benchmark import peers
from vaezoo.benchmark.case import make_case
from vaezoo.benchmark.load_child import LOADERS, main
from vaezoo.benchmark.loading import loading_questions
from vaezoo.benchmark.measure import measure_beside
from vaezoo.benchmark.peers import DIFFUSERS, DiffusersPeer, DocumentedPeer
from vaezoo.errors import InputError

MICRO = "vae_f8_z4_micro"


def test_the_peer_is_the_same_function(ldm):
    peer = DiffusersPeer(ldm).eval()
    ours = vaezoo.from_diffusers(peer.model)
    assert ours.spec.hash == ldm.hash
    assert (peer.latent_channels, peer.downscale) == (ours.latent_channels, ours.downscale)
    images, z = torch.rand(2, 3, 16, 16), torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(peer.encode(images).moments, ours.encode(images).moments, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(peer.decode(z), ours.decode(z), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [MICRO, "vae_f4_z3"])
def test_the_documented_peer_is_the_same_function(name, tmp_path):
    ours = vaezoo.create(name)
    vaezoo.export_checkpoint(ours, tmp_path / "x.safetensors", layout="documented")
    peer = DocumentedPeer(ours.spec).eval()
    peer.model.load_state_dict(load_file(tmp_path / "x.safetensors"))
    assert (peer.latent_channels, peer.downscale) == (ours.latent_channels, ours.downscale)
    images, z = torch.rand(1, 3, 32, 16), torch.randn(1, ours.latent_channels, 4, 2)
    with torch.no_grad():
        torch.testing.assert_close(peer.encode(images).moments, ours.encode(images).moments, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(peer.decode(z), ours.decode(z), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("ldm_f8_z4", {}),
        ("vae_f8_z4_deep", {}),
        (MICRO, {"decoder.2.heads": 4}),
        (MICRO, {"decoder.4.groups": 4}),
        (MICRO, {"decoder.4.layers": 3}),
    ],
)
def test_networks_that_the_documented_peer_does_not_have_are_refused(name, overrides):
    spec = vaezoo.create(name, overrides=overrides, device="meta").spec
    with pytest.raises(InputError, match="the peer documented is another network"):
        measure_beside("documented", spec, "encode", 64)


def test_a_peer_of_another_name_is_refused():
    with pytest.raises(InputError, match="did you mean 'diffusers'"):
        measure_beside("difusers", MICRO, "encode", 64)


def test_both_libraries_load_the_folder_that_a_process_is_asked_for(ldm):
    cases = [make_case(ldm, "load", 0, 1, "bf16", False, "cpu", implementation) for implementation in LOADERS]
    answers = io.StringIO()
    with loading_questions(cases) as questions:
        for question, load in zip(questions, LOADERS.values(), strict=True):
            asked = json.loads(question)
            assert next(load(asked["folder"], asked["dtype"]).parameters()).dtype == torch.bfloat16
        main(iter(questions[:1]), answers)
    answer = json.loads(answers.getvalue())
    assert answer["seconds"] > 0
    assert answer["peak_mib"] >= answer["before_mib"] > 0
    assert answer["threads"] >= 1


def test_every_load_has_a_process_of_its_own(ldm, monkeypatch, tmp_path):
    """Ours takes 1 s and grows by 20 MiB, the peer 4 s and 80 MiB."""
    text = '{"seconds": %d, "cpu_seconds": %d, "before_mib": 10, "peak_mib": %d, "threads": 1}'
    path = tmp_path / "python"
    choose = f"case $job in *diffusers*) echo '{text % (4, 4, 90)}';; *) echo '{text % (1, 2, 30)}';; esac"
    path.write_text(f"#!/bin/sh\necho >> {tmp_path}/started\nread job; {choose}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    ours, theirs = measure_beside(DIFFUSERS, ldm, "load", repeats=2, warmup=0)
    assert len((tmp_path / "started").read_text().splitlines()) == 6  # the first of each counts as a warm-up
    assert (ours["time_ratio"], ours["cpu_ratio"], ours["memory_ratio"]) == (0.25, 0.5, 0.25)
    assert (theirs["seconds"], theirs["peak_rss_growth_mib"]) == (4, 80)


@pytest.mark.slow
def test_loading_is_measured_in_new_processes_of_both(ldm):
    ours, theirs = measure_beside(DIFFUSERS, ldm, "load", repeats=1, warmup=0)
    assert ours["error"] is theirs["error"] is None
    assert (ours["against"], ours["size"], ours["images_per_second"]) == ("diffusers fp32", None, None)
    assert ours["peak_rss_growth_mib"] > 50  # PyTorch
    assert 0 < ours["time_ratio"] < 1  # the import of diffusers takes seconds


@pytest.mark.parametrize("name", [MICRO, "taesd_f8_z4", "asym_x2_f8_z4"])
def test_networks_that_the_peer_does_not_have_are_refused(name):
    with pytest.raises(InputError, match="the peer is diffusers' AutoencoderKL"):
        measure_beside(DIFFUSERS, name, "encode", 64)


def test_a_peer_that_is_not_installed_is_said_to_be(monkeypatch):
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="diffusers is not installed; pip install diffusers"):
        measure_beside(DIFFUSERS, "ldm_f8_z4", "encode", 64)
