"""Files as others write them: wrapped, with older names, with more in them; what a header can tell of a file."""

import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.representatives import first_of
from support.small import in_layout, same_weights, small_vae, write_small

import vaezoo
from vaezoo.errors import CheckpointError, FileError
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.weights.header import read_header, view
from vaezoo.weights.load import tensor_names_of
from vaezoo.weights.tensors import merge_statistics
from vaezoo.zoo.recognize import Candidate


@pytest.mark.parametrize("prefix", first_of(["first_stage_model.", "model.", "vae.", "state_dict."], count=2))
def test_a_vae_within_a_whole_checkpoint_is_found_and_the_rest_is_left_out(kl, prefix, tmp_path):
    vae, load, same = kl
    tensors = {prefix + name: tensor for name, tensor in in_layout(vae, "ldm").items()}
    junk = {"model.diffusion_model.out.0.weight": torch.zeros(2), "cond_stage_model.x": torch.zeros(1)}
    assert same(load({**tensors, **({} if prefix == "model." else junk)}))
    header = read_header(tmp_path / "x.safetensors")
    assert view(header, LAYOUTS["ldm"]).dropped.get(f"outside {prefix}", 0) == (0 if prefix == "model." else 2)


def test_what_was_only_for_training_is_left_out_by_rule_and_counted(kl, caplog):
    vae, load, same = kl
    junk = [
        "loss.logvar",
        "loss.discriminator.main.0.weight",
        "model_ema.decay",
        "foundation_model.blocks.0.w",
        "linear_proj.weight",
    ]
    with caplog.at_level(logging.INFO, "vaezoo"):
        assert same(load({**in_layout(vae, "ldm"), **{name: torch.zeros(1) for name in junk}}))
    assert "foundation_model.*: 1, linear_proj*: 1, loss.*: 2, model_ema.*: 1" in caplog.text


def test_an_unknown_name_is_not_left_out_but_refused(kl):
    vae, load, _ = kl
    with pytest.raises(
        CheckpointError, match=r"0 missing, 1 unexpected, 0 of another shape\n  unexpected  decoder.extra"
    ):
        load({**in_layout(vae, "ldm"), "decoder.extra": torch.zeros(1)})


def test_the_old_attention_names_of_diffusers_are_read(kl):
    vae, load, same = kl
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = in_layout(vae, "diffusers")
    for new, name in old.items():
        tensors = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in tensors.items()}
    assert sum(".query." in key for key in tensors) == 4
    assert same(load(tensors))


@pytest.mark.parametrize(
    ("layout", "apart", "fused"), [("ldm", "qkv", "qkv"), ("diffusers", ("to_q", "to_k", "to_v"), "to_qkv")]
)
def test_fused_and_split_queries_keys_and_values_are_one(kl, layout, apart, fused):
    vae, load, same = kl
    tensors = in_layout(vae, layout)
    for half in ("encoder", "decoder"):
        base = f"{half}.mid.attn_1" if layout == "ldm" else f"{half}.mid_block.attentions.0"
        for leaf in ("weight", "bias"):
            tensors[f"{base}.{fused}.{leaf}"] = torch.cat([tensors.pop(f"{base}.{name}.{leaf}") for name in apart])
    assert same(load(tensors))


def test_what_diffusers_saves_of_fused_attention_is_read_from_the_parts(kl, caplog):
    vae, load, same = kl
    tensors = in_layout(vae, "diffusers")
    for half in ("encoder", "decoder"):
        for leaf in ("weight", "bias"):
            name = f"{half}.mid_block.attentions.0.to_qkv.{leaf}"
            tensors[name] = torch.cat([tensors[name.replace("to_qkv", one)] for one in ("to_q", "to_k", "to_v")])
    with caplog.at_level(logging.INFO, "vaezoo"):
        assert same(load(tensors))
    assert "*.to_qkv.*: 4" in caplog.text


@pytest.mark.parametrize("ones", first_of([0, 1, 2, 3]))
def test_a_1x1_convolution_may_be_a_linear_layer_or_have_more_dimensions_of_size_1(kl, ones):
    vae, load, same = kl
    tensors = in_layout(vae, "ldm")
    for name, tensor in tensors.items():
        if ".attn_1." in name and name.endswith("weight") and tensor.ndim == 4:
            tensors[name] = tensor[:, :, 0, 0].reshape(*tensor.shape[:2], *[1] * ones)
    assert same(load(tensors))


def test_a_tensor_of_another_shape_is_refused(kl):
    vae, load, _ = kl
    tensors = in_layout(vae, "ldm")
    tensors["encoder.conv_in.weight"] = tensors["encoder.conv_in.weight"][..., :1]
    with pytest.raises(
        CheckpointError, match=r"shape       encoder.conv_in.weight \(32, 3, 3, 1\), expected \(32, 3, 3, 3\)"
    ):
        load(tensors, "ldm")


@pytest.mark.parametrize("layout", first_of(["bfl", "diffusers"]))
def test_the_statistics_of_flux2_lie_in_the_file_and_go_back_into_it(layout, tmp_path):
    vae, network = small_vae("flux2_f8_z32"), write_small("flux2_f8_z32", tmp_path)
    mean, var = torch.randn(16), torch.rand(16) + 0.1
    counted = {"bn.running_mean": mean, "bn.running_var": var, "bn.num_batches_tracked": torch.tensor(7)}
    save_file({**in_layout(vae, layout), **counted}, tmp_path / "x.safetensors")
    again = vaezoo.create(f"file:{tmp_path}/x.safetensors", network=network)
    assert again.latent_stats == vaezoo.LatentStats(
        mean=tuple(mean.tolist()), var=tuple(var.tolist()), eps=1e-4, pack=2
    )
    z = torch.randn(1, 4, 4, 6)
    packed = torch.nn.functional.batch_norm(torch.nn.functional.pixel_unshuffle(z, 2), mean, var, eps=1e-4)
    torch.testing.assert_close(again.normalize(z), packed)
    vaezoo.export_checkpoint(again, tmp_path / "y.safetensors", layout=layout)
    before, after = load_file(tmp_path / "x.safetensors"), load_file(tmp_path / "y.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], before[name]) for name in before if "tracked" not in name)
    save_file(
        {**in_layout(vae, layout), **{k: v[:9] if v.ndim else v for k, v in counted.items()}},
        tmp_path / "z.safetensors",
    )
    with pytest.raises(
        CheckpointError, match=r"z.safetensors: bn.\*: means of shape \(9,\) and variances of shape \(9,\)"
    ):
        vaezoo.create(f"file:{tmp_path}/z.safetensors", network=network)


@pytest.mark.parametrize("dtype", first_of([torch.bfloat16, torch.float32]))
def test_our_own_names_keep_packed_statistics_and_lose_no_digit(dtype, tmp_path):
    vae, network = small_vae("flux2_f8_z32").to(dtype), write_small("flux2_f8_z32", tmp_path)
    vae.latent_stats = vaezoo.LatentStats(mean=(0.1,) * 16, var=(0.3,) * 16, eps=1e-4, pack=2)
    vaezoo.export_checkpoint(vae, tmp_path / "x.safetensors")
    assert vaezoo.create(f"file:{tmp_path}/x.safetensors", network=network).latent_stats == vae.latent_stats


@pytest.mark.parametrize(("name", "value"), first_of([("var", -0.5), ("mean", float("nan")), ("var", float("inf"))]))
def test_statistics_that_are_none_are_refused(name, value, tmp_path):
    vae, network = small_vae("flux2_f8_z32"), write_small("flux2_f8_z32", tmp_path)
    counted = {"bn.running_mean": torch.zeros(16), "bn.running_var": torch.ones(16)}
    counted[f"bn.running_{name}"][3] = value
    save_file({**in_layout(vae, "bfl"), **counted}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=rf"x.safetensors: bn.\*: latent_stats.*{name}"):
        vaezoo.create(f"file:{tmp_path}/x.safetensors", network=network)


def test_an_unknown_name_beside_the_statistics_is_refused(tmp_path):
    vae, network = small_vae("flux2_f8_z32"), write_small("flux2_f8_z32", tmp_path)
    save_file({**in_layout(vae, "bfl"), "bn.weight": torch.ones(16)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"unexpected  bn\.weight"):
        vaezoo.create(f"file:{tmp_path}/x.safetensors", network=network)


def test_statistics_in_a_file_must_be_those_told_beside_it():
    stored = vaezoo.LatentStats(mean=(0.1,) * 16, var=(0.3,) * 16, eps=1e-4, pack=2)
    told = vaezoo.LatentStats(mean=(0.1004,) * 16, var=(0.3,) * 16, eps=1e-3, pack=2)
    assert merge_statistics(stored, told, "x.safetensors") == told
    for other in (vaezoo.LatentStats(scale=0.5), replace(told, mean=(0.2,) * 16), replace(told, var=(0.4,) * 16)):
        with pytest.raises(
            CheckpointError, match=r"x\.safetensors: holds statistics of packed latents that differ from those"
        ):
            merge_statistics(stored, other, "x.safetensors")


def test_a_taesd_is_two_files_and_half_of_one_is_told_apart(tmp_path):
    vae = vaezoo.create("taesd_f8_z4")
    encoder, decoder = (tmp_path / f"{half}.safetensors" for half in ("encoder", "decoder"))
    vaezoo.export_checkpoint(vae, f"{encoder},{decoder}", layout="taesd")
    assert {"0.weight", "1.conv.0.weight", "14.bias"} <= load_file(encoder).keys()
    assert {"1.weight", "3.conv.4.bias", "7.weight", "19.weight"} <= load_file(decoder).keys()
    assert vaezoo.recognize(f"{encoder},{decoder}") == [Candidate("taesd", "taesd_f8_z4")]
    again = vaezoo.create(f"file:{encoder},{decoder}")
    assert same_weights(again, vae)
    with pytest.raises(CheckpointError, match="half of a TAESD: give both halves as ENCODER,DECODER"):
        vaezoo.create(f"file:{decoder}")
    with pytest.raises(CheckpointError, match="layout taesd is two files, ENCODER,DECODER"):
        vaezoo.export_checkpoint(vae, tmp_path / "x.safetensors", layout="taesd")
    with pytest.raises(CheckpointError, match="layout native is one file"):
        vaezoo.export_checkpoint(vae, f"{tmp_path}/a.safetensors,{tmp_path}/b.safetensors")
    with pytest.raises(FileError, match="3 paths; write one, or two as ENCODER,DECODER"):
        vaezoo.create(f"file:{encoder},{decoder},{decoder}")
    with pytest.raises(CheckpointError, match="fit no network"):
        vaezoo.create(f"file:{decoder},{encoder}")
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(CheckpointError, match="fit no network") as caught:
        vaezoo.create(f"file:{tmp_path}/empty.safetensors")
    assert "half of" not in str(caught.value)


@pytest.mark.slow  # a file of the full network, read and hashed several times
def test_recognize_says_which_networks_names_and_shapes_allow_and_why(tmp_path):
    with torch.device("meta"):
        vae = vaezoo.create("ldm_f8_z4")
    tensors = {
        f"first_stage_model.{n}": torch.zeros(p.shape).to(torch.float16)
        for p in tensor_names_of(vae, "ldm")
        for n in p.names
    }
    save_file({**tensors, "model.diffusion_model.x": torch.zeros(1)}, tmp_path / "sd.safetensors")
    found = vaezoo.recognize(tmp_path / "sd.safetensors")
    assert found == [Candidate("ldm", "ldm_f8_z4"), Candidate("ldm", "ldm_reflect_f8_z4")]
    assert found[0].why == (
        "248 names and shapes are the same without the prefix first_stage_model.; "
        "left out by rule: outside first_stage_model.: 1"
    )
    with pytest.raises(
        CheckpointError, match=r"several networks.*ldm_f8_z4 \(layout ldm\), ldm_reflect_f8_z4.*network="
    ):
        vaezoo.create(f"file:{tmp_path}/sd.safetensors")
    vae = vaezoo.create(f"file:{tmp_path}/sd.safetensors", network="ldm_f8_z4")
    with pytest.raises(vaezoo.InputError, match=r"cannot tell these weights apart: sd_vae_ft_mse, .*sdxl, .*tag="):
        vae.normalize(torch.zeros(1, 4, 2, 2))
    told = vaezoo.create(f"file:{tmp_path}/sd.safetensors", tag="sdxl_vae")
    assert told.latent_stats == vaezoo.LatentStats(scale=0.13025)


def test_a_file_on_record_is_known_by_its_content(tmp_path, monkeypatch):
    from vaezoo.specs.names import ModelName
    from vaezoo.weights.records import find_record
    from vaezoo.zoo import find_file

    vaezoo.export_checkpoint(vaezoo.create("taesd_f8_z4"), tmp_path / "x.safetensors", layout="diffusers")
    assert vaezoo.create(f"file:{tmp_path}/x.safetensors").latent_stats is None
    taesd = find_record(ModelName("zoo", "taesd_f8_z4"))
    monkeypatch.setattr(find_file, "find_by_sha256", lambda sha256: taesd)
    assert vaezoo.create(f"file:{tmp_path}/x.safetensors").latent_stats == vaezoo.LatentStats(scale=1.0)
    for spelling in ("taesd_f8_z4", "taesd-f8-z4"):
        assert vaezoo.create(f"file:{tmp_path}/x.safetensors", network=spelling).latent_stats is not None
