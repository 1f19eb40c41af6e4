"""Names of weights as training code, compilers and the authors of a model write them, and what is no weights file."""

import itertools
import logging

import pytest
import torch
from safetensors.torch import save_file
from support.representatives import first_of
from support.small import in_layout, same_weights, small_vae, write_small

import vaezoo
from vaezoo.errors import CheckpointError
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.weights.header import read_header, view
from vaezoo.weights.pickles import from_pickle

PREFIXES = ["_orig_mod.", "module.", "ema.", "autoencoder.", "module._orig_mod.", "a.b.first_stage_model.", "net/my_"]


CASES = [("module._orig_mod.", layout) for layout in ("ldm", "diffusers", "native")]
CASES += [("a.b.first_stage_model.", "ldm"), ("net/my_", "ldm")]
OTHERS = [pair for pair in itertools.product(PREFIXES, ("ldm", "diffusers", "native")) if pair not in CASES]


@pytest.mark.parametrize(("prefix", "layout"), first_of([*CASES, *OTHERS], count=len(CASES)))
def test_any_prefix_in_any_layout_is_taken_off_and_said(kl, caplog, tmp_path, layout, prefix):
    vae, load, same = kl
    other = {"cond_stage_model.encoder.x": torch.zeros(1), "n_averaged": torch.zeros(1)}
    other = {} if prefix == "_orig_mod." else other  # which is taken off before a prefix is looked for
    with caplog.at_level(logging.INFO, "vaezoo"):
        assert same(load({**{prefix + name: tensor for name, tensor in in_layout(vae, layout).items()}, **other}))
    taken = prefix.replace("_orig_mod.", "")
    assert view(read_header(tmp_path / "x.safetensors"), LAYOUTS[layout]).prefix == taken
    assert not taken or f"the prefix {taken} of its names was taken off" in caplog.text


def test_averaged_weights_win_over_others_in_one_file(kl):
    vae, load, same = kl
    tensors = in_layout(vae, "ldm")
    plain = {f"model.{name}": tensor + 1 for name, tensor in tensors.items()}
    assert same(load({**plain, **{f"ema_model.{name}": tensor for name, tensor in tensors.items()}}))


def test_compiled_halves_are_read(kl):
    vae, load, same = kl
    tensors = in_layout(vae, "ldm")
    assert same(load({name.replace("coder.", "coder._orig_mod.", 1): tensor for name, tensor in tensors.items()}))


@pytest.mark.parametrize("layout", first_of(["ldm", "diffusers"]))
def test_both_spellings_of_attention_are_read(kl, layout):
    vae, load, same = kl
    pairs = [("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")]
    tensors = in_layout(vae, layout)
    for one, other in pairs if layout == "ldm" else [(b, a) for a, b in pairs]:
        tensors = {
            name.replace(f".attn_1.{one}.", f".attn_1.{other}.").replace(
                f"attentions.0.{one}.", f"attentions.0.{other}."
            ): t
            for name, t in tensors.items()
        }
    assert tensors.keys() != in_layout(vae, layout).keys()
    assert same(load(tensors))


def test_two_spellings_of_one_tensor_are_refused(kl):
    vae, load, _ = kl
    tensors = in_layout(vae, "ldm")
    tensors["encoder.mid.attn_1.to_q.bias"] = tensors["encoder.mid.attn_1.q.bias"] + 1
    with pytest.raises(CheckpointError, match=r"unexpected  encoder\.mid\.attn_1\."):
        load(tensors)


def test_hunyuan_keeps_convolutions_of_one_frame(tmp_path):
    vae, network = small_vae("hunyuanimage_f32_z64"), write_small("hunyuanimage_f32_z64", tmp_path)
    tensors = in_layout(vae, "hunyuan")
    tensors = {name: t[:, :, None] if t.ndim == 4 else t for name, t in tensors.items()}
    assert tensors["encoder.conv_in.weight"].shape[2:] == (1, 3, 3)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "x.safetensors")
    again = vaezoo.create(f"file:{tmp_path}/x.safetensors", network=network)
    assert same_weights(again, vae)


def test_the_authors_file_of_the_asymmetric_vqgan_is_read_and_not_written(tmp_path, caplog):
    vae, network = small_vae("asym_x1_5_f8_z4"), write_small("asym_x1_5_f8_z4", tmp_path)
    extra = {f"decoder.encoder.layers.{i}.{leaf}": torch.zeros(1) for i in range(5) for leaf in ("weight", "bias")}
    extra |= {f"decoder.up_layers.{i}.layer.{leaf}": torch.zeros(1) for i in range(4) for leaf in ("weight", "bias")}
    assert len(extra) == 18
    save_file({**in_layout(vae, "ldm"), **extra}, tmp_path / "x.safetensors")
    with caplog.at_level(logging.INFO, "vaezoo"):
        again = vaezoo.create(f"file:{tmp_path}/x.safetensors", network=network)
    assert same_weights(again, vae)
    assert "decoder.encoder.*: 10, decoder.up_layers.*: 8" in caplog.text
    for layout in ("ldm", "bfl", "diffusers"):
        with pytest.raises(CheckpointError, match=r"can be read, not written: .*asymmetric|layout bfl"):
            vaezoo.export_checkpoint(again, tmp_path / "y.safetensors", layout=layout)
    assert not (tmp_path / "y.safetensors").exists()


def test_a_vq_first_stage_is_called_one(kl, tmp_path):
    vae, load, _ = kl
    tensors = {**in_layout(vae, "ldm"), "quantize.embedding.weight": torch.zeros(16, 4)}
    said = r"vector-quantized model \(codebook quantize\.embedding\.weight\)"
    with pytest.raises(CheckpointError, match=said):
        load(tensors)
    with pytest.raises(CheckpointError, match=said):
        vaezoo.create(f"file:{tmp_path}/x.safetensors")


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer .*git lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "a web page .*/resolve/"),
    ],
)
def test_a_pointer_or_a_page_in_the_place_of_weights_is_called_so(tmp_path, content, remedy):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=remedy):
        vaezoo.recognize(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=remedy):
        from_pickle(tmp_path / "x.safetensors", tmp_path / "y.safetensors")
