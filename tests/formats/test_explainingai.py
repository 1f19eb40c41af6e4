"""The layout of explainingai-code/StableDiffusion-PyTorch, whose network is the documented one under other names."""

import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.small import same_weights

import vaezoo
from vaezoo.errors import CheckpointError
from vaezoo.weights.load import tensor_names_of

# names of explainingai-code/StableDiffusion-PyTorch models/vae.py and models/blocks.py, with config/celebhq.yaml
EXPLAININGAI = [
    "encoder_conv_in.weight",
    "encoder_layers.0.resnet_conv_first.0.0.weight",
    "encoder_layers.2.resnet_conv_second.1.2.bias",
    "encoder_layers.1.residual_input_conv.1.weight",
    "encoder_layers.0.down_sample_conv.weight",
    "encoder_mids.0.attentions.0.in_proj_weight",
    "encoder_mids.0.attention_norms.1.bias",
    "encoder_norm_out.weight",
    "pre_quant_conv.bias",
    "post_quant_conv.weight",
    "decoder_mids.0.resnet_conv_first.2.2.weight",
    "decoder_layers.2.up_sample_conv.bias",
    "decoder_conv_out.bias",
]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_names_of_the_public_repository_are_a_layout_of_their_own(tmp_path, prefix):
    vae, path = vaezoo.create("vae_f8_z4_micro"), tmp_path / "x.safetensors"
    vaezoo.export_checkpoint(vae, path, layout="explainingai")
    tensors = load_file(path)
    assert {"encoder_layers.0.down_sample_conv.weight", "decoder_mids.0.attentions.0.in_proj_bias"} <= tensors.keys()
    documented = {re.sub(r"(layers|mids)\.(\d)", r"\1_\2", name, count=1): t for name, t in tensors.items()}
    assert documented.keys() == {n for each in tensor_names_of(vae, "documented") for n in each.names}
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, path)
    again = vaezoo.create(f"file:{path}")
    assert same_weights(again, vae)


def test_the_two_layouts_differ_in_216_names(tmp_path):
    with torch.device("meta"):
        vae = vaezoo.create("vae_f8_z4")
    documented, names = (
        {name for each in tensor_names_of(vae, layout) for name in each.names}
        for layout in ("documented", "explainingai")
    )
    assert names >= set(EXPLAININGAI)
    assert (len(names), len(names - documented)) == (232, 216)
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"layout explainingai.*0 missing, 0 unexpected"):
        vaezoo.create(f"file:{tmp_path}/x.safetensors", network="vae_f8_z4")
