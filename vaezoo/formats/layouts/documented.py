"""Layouts `documented` and `explainingai`: two spellings of one network (`configs/models/vae_f8_z4.yaml`).

`documented` has the names of the document that describes it, with numbered attributes (`encoder_layers_0`).
`explainingai` has those of explainingai-code/StableDiffusion-PyTorch@f562b15 `models/vae.py` and `models/blocks.py`,
with module lists (`encoder_layers.0`). All other names are the same.
"""

from dataclasses import replace

from vaezoo.formats.layouts.engine import Layout
from vaezoo.formats.layouts.name_table import NameTable

_LAYERS = {"norm": ("group",), "eps": (1e-5,), "act": ("silu",), "skip": ("conv",), "heads": (0,)}

DOCUMENTED_NAMES = NameTable(
    layout="documented",
    blocks={"encoder": r"conv( down)+( mid)+ head conv", "decoder": r"conv conv( mid)+( up)+ head"},
    modules={
        "stem": "{half}_conv_in",
        "encoder quant": "pre_quant_conv",
        "decoder quant": "post_quant_conv",
        "level layers": "{half}_layers_{order}",
        "encoder level resample": "encoder_layers_{order}.down_sample_conv",
        "decoder level resample": "decoder_layers_{order}.up_sample_conv",
        "mid layers": "{half}_mids_{order}",
        "mid attentions": "{half}_mids_{order}",
        "head norm": "{half}_norm_out",
        "head conv": "{half}_conv_out",
    },
    inside={
        **{"norm1": "resnet_conv_first.{r}.0", "conv1": "resnet_conv_first.{r}.2"},
        **{"norm2": "resnet_conv_second.{r}.0", "conv2": "resnet_conv_second.{r}.2"},
        **{"skip": "residual_input_conv.{r}", "norm": "attention_norms.{r}"},
        **{"qkv": "attentions.{r}.in_proj_{leaf}", "proj": "attentions.{r}.out_proj"},
    },
    allowed={
        "all": {**_LAYERS, "resample_out": (), "padding": (), "shortcut": (None,)},
        "level": {"resample": (None, "conv_4x4", "conv_transpose_4x4")},
        "stem": {"kernel": (3,)},
        "mid": {"heads": range(1, 65_537)},
        "head": {"kernel": (3,)},
        "quant": {"kernel": (1,)},
    },
    latents=("gaussian",),
    linear=True,
)
EXPLAININGAI_NAMES = replace(
    DOCUMENTED_NAMES,
    layout="explainingai",
    modules={key: name.replace("_{order}", ".{order}") for key, name in DOCUMENTED_NAMES.modules.items()},
)
_ROOTS = ("encoder_conv_in.", "decoder_conv_in.")
DOCUMENTED = Layout(
    about="The documented VAE, as its description names it (`encoder_layers_0`).",
    tensor_names=DOCUMENTED_NAMES.tensor_names,
    roots=_ROOTS,
)
EXPLAININGAI = Layout(
    about="The documented VAE, as explainingai-code/StableDiffusion-PyTorch names it (`encoder_layers.0`).",
    tensor_names=EXPLAININGAI_NAMES.tensor_names,
    roots=_ROOTS,
)
