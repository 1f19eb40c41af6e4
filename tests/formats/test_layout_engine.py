"""What a layout can express: other names, a tensor split into several, linear layers as 1x1 convolutions."""

import pytest
from support.small import same_weights

import vaezoo
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.formats.layouts.engine import Layout, TensorNames
from vaezoo.weights.header import read_header


def apart(spec, shapes) -> list[TensorNames]:
    """Name queries, keys and values separately, as 1x1 convolutions."""
    return [
        _apart(key, shape) if ".qkv." in key else TensorNames(key, (f"model.{key}",), shape)
        for key, shape in shapes.items()
    ]


def _apart(key: str, shape: tuple[int, ...]) -> TensorNames:
    names = tuple(key.replace("qkv", letter) for letter in "qkv")
    one = (shape[0] // 3, *shape[1:])
    return TensorNames(key, names, (*one, 1, 1) if key.endswith("weight") else one)


@pytest.fixture
def vae(monkeypatch):
    monkeypatch.setitem(
        LAYOUTS, "apart", Layout(about="Apart.", tensor_names=apart, roots=("encoder.4.attentions.0.q.", "decoder."))
    )
    return vaezoo.create("vae_f8_z4_micro")


def test_fused_tensors_are_written_apart_and_read_back_together(vae, tmp_path):
    vaezoo.export_checkpoint(vae, tmp_path / "a.safetensors", layout="apart")
    shapes = read_header(tmp_path / "a.safetensors").shapes
    assert shapes["encoder.4.attentions.0.k.weight"] == (48, 48, 1, 1)
    assert shapes["encoder.4.attentions.0.v.bias"] == (48,)
    assert "encoder.4.attentions.0.qkv.weight" not in shapes
    again = vaezoo.create(f"file:{tmp_path / 'a.safetensors'}")
    assert same_weights(again, vae)


def test_a_missing_piece_of_a_fused_tensor_is_named(vae, tmp_path):
    from safetensors.torch import load_file, save_file

    vaezoo.export_checkpoint(vae, tmp_path / "a.safetensors", layout="apart")
    tensors = load_file(tmp_path / "a.safetensors")
    del tensors["encoder.4.attentions.0.k.weight"]
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(
        vaezoo.CheckpointError, match=r"missing     encoder\.4\.attentions\.0\.k\.weight \(48, 48, 1, 1\)"
    ):
        vaezoo.load_checkpoint(vae, tmp_path / "a.safetensors", layout="apart")
