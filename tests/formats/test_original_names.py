"""Tensor names of the layouts, against names and shapes that were read off the sources of the originals."""

import pytest
import torch

import vaezoo
from vaezoo.weights.header import expected_shapes
from vaezoo.weights.load import tensor_names_of

# black-forest-labs/flux2 src/flux2/autoencoder.py, `AutoEncoder`
BFL = {
    "encoder.quant_conv.weight": (64, 64, 1, 1),
    "encoder.conv_in.weight": (128, 3, 3, 3),
    "encoder.down.0.block.1.conv2.bias": (128,),
    "encoder.down.1.block.0.norm1.weight": (128,),
    "encoder.down.1.block.0.nin_shortcut.weight": (256, 128, 1, 1),
    "encoder.down.2.downsample.conv.weight": (512, 512, 3, 3),
    "encoder.mid.block_2.norm2.bias": (512,),
    "encoder.mid.attn_1.q.weight": (512, 512, 1, 1),
    "encoder.conv_out.weight": (64, 512, 3, 3),
    "decoder.post_quant_conv.bias": (32,),
    "decoder.conv_in.weight": (512, 32, 3, 3),
    "decoder.mid.attn_1.proj_out.bias": (512,),
    "decoder.mid.block_1.conv1.weight": (512, 512, 3, 3),
    "decoder.up.3.block.2.conv1.weight": (512, 512, 3, 3),
    "decoder.up.1.block.0.nin_shortcut.weight": (256, 512, 1, 1),
    "decoder.up.1.upsample.conv.weight": (256, 256, 3, 3),
    "decoder.norm_out.weight": (128,),
    "decoder.conv_out.bias": (3,),
}
# Tencent-Hunyuan/HunyuanImage-2.1 hyimage/models/vae/hunyuanimage_vae.py, `Encoder` and `Decoder`
HUNYUAN = {
    "encoder.conv_in.weight": (128, 3, 3, 3),
    "encoder.down.0.block.0.norm1.bias": (128,),
    "encoder.down.0.downsample.conv.weight": (64, 128, 3, 3),
    "encoder.down.3.downsample.conv.bias": (256,),
    "encoder.down.5.block.1.conv2.weight": (1024, 1024, 3, 3),
    "encoder.mid.block_1.conv1.weight": (1024, 1024, 3, 3),
    "encoder.mid.attn_1.norm.weight": (1024,),
    "encoder.mid.attn_1.v.weight": (1024, 1024, 1, 1),
    "encoder.norm_out.weight": (1024,),
    "encoder.conv_out.weight": (128, 1024, 3, 3),
    "decoder.conv_in.weight": (1024, 64, 3, 3),
    "decoder.mid.attn_1.proj_out.weight": (1024, 1024, 1, 1),
    "decoder.up.0.upsample.conv.weight": (4096, 1024, 3, 3),
    "decoder.up.1.upsample.conv.weight": (2048, 1024, 3, 3),
    "decoder.up.4.upsample.conv.bias": (512,),
    "decoder.up.2.block.2.conv1.weight": (512, 512, 3, 3),
    "decoder.up.5.block.2.norm2.weight": (128,),
    "decoder.conv_out.weight": (3, 128, 3, 3),
}
# Wan-Video/Wan2.1 wan/modules/vae.py, `WanVAE_` with a dim of 96
WAN = {
    "encoder.conv1.weight": (96, 3, 3, 3, 3),
    "encoder.downsamples.0.residual.0.gamma": (96, 1, 1, 1),
    "encoder.downsamples.1.residual.6.weight": (96, 96, 3, 3, 3),
    "encoder.downsamples.2.resample.1.weight": (96, 96, 3, 3),
    "encoder.downsamples.3.shortcut.weight": (192, 96, 1, 1, 1),
    "encoder.downsamples.5.resample.1.bias": (192,),
    "encoder.middle.0.residual.2.weight": (384, 384, 3, 3, 3),
    "encoder.middle.1.to_qkv.weight": (1152, 384, 1, 1),
    "encoder.middle.2.residual.3.gamma": (384, 1, 1, 1),
    "encoder.head.0.gamma": (384, 1, 1, 1),
    "encoder.head.2.weight": (32, 384, 3, 3, 3),
    "conv1.weight": (32, 32, 1, 1, 1),
    "conv2.bias": (16,),
    "decoder.conv1.weight": (384, 16, 3, 3, 3),
    "decoder.middle.1.proj.bias": (384,),
    "decoder.middle.1.norm.gamma": (384, 1, 1),
    "decoder.upsamples.3.resample.1.weight": (192, 384, 3, 3),
    "decoder.upsamples.4.shortcut.weight": (384, 192, 1, 1, 1),
    "decoder.upsamples.11.resample.1.weight": (96, 192, 3, 3),
    "decoder.upsamples.14.residual.6.bias": (96,),
    "decoder.head.2.weight": (3, 96, 3, 3, 3),
}
# mit-han-lab/efficientvit efficientvit/models/efficientvit/dc_ae.py, `DCAE` of dc-ae-f32c32-in-1.0
DC_AE = {
    "encoder.project_in.conv.conv.weight": (64, 3, 3, 3),
    "encoder.stages.1.op_list.0.main.conv1.conv.bias": (256,),
    "encoder.stages.1.op_list.3.main.conv2.conv.weight": (256, 256, 3, 3),
    "encoder.stages.1.op_list.3.main.conv2.norm.bias": (256,),
    "encoder.stages.1.op_list.4.main.conv.conv.weight": (128, 256, 3, 3),
    "encoder.stages.3.op_list.0.context_module.main.qkv.conv.weight": (1536, 512, 1, 1),
    "encoder.stages.3.op_list.1.context_module.main.proj.norm.weight": (512,),
    "encoder.stages.5.op_list.1.local_module.main.inverted_conv.conv.weight": (8192, 1024, 1, 1),
    "encoder.stages.5.op_list.1.local_module.main.depth_conv.conv.weight": (8192, 1, 3, 3),
    "encoder.stages.5.op_list.1.local_module.main.point_conv.conv.weight": (1024, 4096, 1, 1),
    "encoder.project_out.main.op_list.0.conv.weight": (32, 1024, 3, 3),
    "decoder.project_in.main.conv.weight": (1024, 32, 3, 3),
    "decoder.stages.5.op_list.0.context_module.main.proj.conv.weight": (1024, 1024, 1, 1),
    "decoder.stages.4.op_list.0.main.conv.conv.weight": (4096, 1024, 3, 3),
    "decoder.stages.2.op_list.0.main.conv.conv.bias": (2048,),
    "decoder.stages.1.op_list.5.main.conv2.norm.running_var": (256,),
    "decoder.project_out.op_list.0.weight": (256,),
    "decoder.project_out.op_list.2.conv.conv.weight": (12, 256, 3, 3),
}
# the same file, `DCAE` of dc-ae-f32c32-sana-1.0
SANA = {
    "encoder.project_in.conv.weight": (128, 3, 3, 3),
    "encoder.stages.0.op_list.2.main.conv.weight": (256, 128, 3, 3),
    "encoder.stages.3.op_list.0.context_module.main.aggreg.0.0.weight": (1536, 1, 5, 5),
    "encoder.stages.3.op_list.0.context_module.main.aggreg.0.1.weight": (1536, 32, 1, 1),
    "encoder.stages.4.op_list.2.context_module.main.proj.conv.weight": (1024, 2048, 1, 1),
    "decoder.stages.0.op_list.0.main.conv.conv.weight": (128, 256, 3, 3),
    "decoder.stages.0.op_list.3.main.conv1.conv.weight": (128, 128, 3, 3),
    "decoder.project_out.op_list.2.conv.weight": (3, 128, 3, 3),
}
ORIGINALS = [
    ("flux2_f8_z32", "bfl", BFL),
    ("hunyuanimage_f32_z64", "hunyuan", HUNYUAN),
    ("qwenimage_f8_z16", "wan", WAN),
    ("dcae_f32_z32", "dc_ae", DC_AE),
    ("sana_f32_z32", "dc_ae", SANA),
]


def without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its trailing dimensions of size 1."""
    return without_ones(shape[:-1]) if shape[-1:] == (1,) else shape


@pytest.mark.parametrize(("name", "layout", "original"), ORIGINALS)
def test_a_layout_keeps_tensors_under_the_names_and_shapes_of_the_original(name, layout, original):
    with torch.device("meta"):
        wanted = expected_shapes(tensor_names_of(vaezoo.create(name), layout))
    found = {key: without_ones(wanted[key]) if key in wanted else None for key in original}
    assert found == {key: without_ones(shape) for key, shape in original.items()}
