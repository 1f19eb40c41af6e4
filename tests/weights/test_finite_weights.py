"""Weights are finite numbers in the dtype that is asked for, or one error names the tensor; nothing is written."""

import os
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.representatives import first_of
from torch import nn

import vaezoo
from vaezoo.cli import main
from vaezoo.data.photos import photos
from vaezoo.errors import CheckpointError, InputError
from vaezoo.evaluation.protocol import evaluate


def micro(value=None):
    vae = vaezoo.create("vae_f8_z4_micro")
    if value is not None:
        with torch.no_grad():
            vae.encoder[0].bias[0] = value
    return vae


@pytest.fixture
def large(tmp_path):
    """A file with a value that float16 cannot hold."""
    vaezoo.export_checkpoint(micro(70_000.0), tmp_path / "large.safetensors")
    return tmp_path / "large.safetensors"


def test_a_cast_that_would_write_infinities_writes_nothing(tmp_path, large, capsys):
    path = tmp_path / "out.safetensors"
    message = r"encoder\.0\.bias has values up to 7e\+04, too large for torch\.float16: use bfloat16 or float32"
    with pytest.raises(CheckpointError, match=message):
        vaezoo.export_checkpoint(micro(70_000.0), path, dtype=torch.float16)
    with pytest.raises(CheckpointError, match=message):
        vaezoo.create(f"file:{large}", dtype=torch.float16)
    assert main(["convert", str(large), str(path), "--dtype", "fp16"]) == 2
    assert "encoder.0.bias has values up to 7e+04" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["large.safetensors"]
    vaezoo.create(f"file:{large}", dtype=torch.bfloat16)


@pytest.mark.parametrize("value", first_of([float("nan"), float("inf")]))
def test_weights_that_are_not_finite_are_neither_read_nor_exported(tmp_path, value):
    path = tmp_path / "x.safetensors"
    with pytest.raises(CheckpointError, match=r"encoder\.0\.bias has NaN or infinite values"):
        vaezoo.export_checkpoint(micro(value), path)
    vaezoo.export_checkpoint(micro(), path)
    tensors = load_file(path)
    tensors["encoder.0.bias"][0] = value
    save_file(tensors, path)
    vae = micro()
    before = {key: tensor.clone() for key, tensor in vae.state_dict().items()}
    for load in (lambda: vaezoo.create(f"file:{path}"), lambda: vaezoo.load_checkpoint(vae, path)):
        with pytest.raises(CheckpointError, match=r"x\.safetensors: encoder\.0\.bias has NaN or infinite values"):
            load()
    assert all(torch.equal(tensor, before[key]) for key, tensor in vae.state_dict().items())


def test_an_evaluation_that_computes_nan_names_the_photo():
    with pytest.raises(InputError, match=r"\.(jpg|png): vae_f8_z4_micro in torch.float32 computes NaN or infinite"):
        evaluate(micro(float("nan")), photos(None), size=64)


def test_a_file_of_several_dtypes_is_read_in_the_one_that_holds_all(tmp_path):
    vaezoo.export_checkpoint(micro(), tmp_path / "x.safetensors", dtype=torch.float16)
    tensors = load_file(tmp_path / "x.safetensors")
    tensors["encoder.0.bias"] = tensors["encoder.0.bias"].bfloat16()
    save_file(tensors, tmp_path / "x.safetensors")
    vae = vaezoo.create(f"file:{tmp_path / 'x.safetensors'}", dtype=None)
    assert {tensor.dtype for tensor in vae.state_dict().values()} == {torch.float32}
    vae.decode(vae.encode(torch.zeros(1, 3, 64, 64)).mode())


def test_weights_are_not_loaded_to_the_meta_device():
    with torch.device("meta"), pytest.raises(InputError, match="weights cannot be loaded to it: pass device='cpu'"):
        vaezoo.create("vae_f8_z4_micro", pretrained=True)
    with torch.device("meta"):
        vae = vaezoo.create("vae_f8_z4_micro", pretrained=True, device="cpu")
    assert {tensor.device.type for tensor in vae.state_dict().values()} == {"cpu"}


@contextmanager
def init_empty_weights():
    """What the function of this name in accelerate does: parameters become meta tensors when they are registered."""
    register = nn.Module.register_parameter

    def register_empty(module, name, parameter):
        register(module, name, parameter)
        if parameter is not None:
            module._parameters[name] = nn.Parameter(module._parameters[name].to("meta"))

    nn.Module.register_parameter = register_empty
    try:
        yield
    finally:
        nn.Module.register_parameter = register


def test_weights_that_a_context_discards_are_an_error():
    with init_empty_weights(), pytest.raises(CheckpointError, match=r"weights were discarded.*outside of that context"):
        vaezoo.create("vae_f8_z4_micro", pretrained=True)
