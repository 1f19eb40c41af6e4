"""Models in the wrappers of PyTorch are those that they wrap."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import vaezoo
from vaezoo.analysis.compare import compare_weights
from vaezoo.inference.reconstruct import reconstruct
from vaezoo.nn.unwrap import unwrapped
from vaezoo.sharing import publish


@pytest.fixture(scope="module")
def vae() -> vaezoo.VAE:
    return vaezoo.create("vae_f8_z4_micro", pretrained=True)


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "compile": partial(torch.compile, backend="eager"),
    "several": lambda vae: nn.DataParallel(torch.compile(vae, backend="eager")),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_model_is_saved_exported_loaded_and_run_like_the_model(vae, wrap, tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "show_samples", lambda vae, _: None)  # takes seconds
    wrapped = wrap(vae)
    vaezoo.save(wrapped, tmp_path / "saved")
    vaezoo.export_checkpoint(wrapped, tmp_path / "x.safetensors")
    vaezoo.save(vae, tmp_path / "plain")
    for file in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "saved" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()
    assert (tmp_path / "x.safetensors").read_bytes() == (tmp_path / "plain" / "model.safetensors").read_bytes()
    fresh = vaezoo.create("vae_f8_z4_micro")
    target = wrap(fresh)
    assert vaezoo.load_checkpoint(target, tmp_path / "x.safetensors") is target
    assert vaezoo.optimize(wrapped, "fp32").source == vae.source
    assert not any(change.largest for change in compare_weights(target, wrapped))
    assert vaezoo.describe(wrapped).source == vae.source
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(reconstruct(wrapped, images), reconstruct(vae, images))
    assert vaezoo.as_diffusers(wrapped).vae is vae
    assert "model.safetensors" in vaezoo.push_to_hub(wrapped, "alice/vae", license="mit", dry_run=True).files


def test_processes_share_the_model_that_they_wrap(vae, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        assert unwrapped(nn.parallel.DistributedDataParallel(vae)) is vae
    finally:
        torch.distributed.destroy_process_group()


def test_another_module_is_refused_with_the_attribute_that_holds_the_model(vae, tmp_path):
    with pytest.raises(vaezoo.InputError, match=r"a DiffusersVAE is not a vaezoo\.VAE; pass its \.vae$"):
        vaezoo.save(vaezoo.as_diffusers(vae), tmp_path / "x")
    with pytest.raises(vaezoo.InputError, match=r"a Linear is not a vaezoo\.VAE, as vaezoo\.create returns it"):
        vaezoo.export_checkpoint(nn.Linear(1, 1), tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", [None, "vae_f8_z4", {}, Path("vae")], ids=repr)
def test_what_is_no_module_is_refused(other, tmp_path):
    text = f"a {type(other).__name__} is not a vaezoo.VAE, as vaezoo.create returns it"
    for use in (vaezoo.optimize, partial(vaezoo.save, folder=tmp_path), partial(vaezoo.export_checkpoint, path="x")):
        with pytest.raises(vaezoo.InputError, match=text):
            use(other)
