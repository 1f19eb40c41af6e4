"""Layout `hunyuan`: Tencent-Hunyuan/HunyuanImage-2.1@307df88 `hyimage/models/vae/hunyuanimage_vae.py`."""

from dataclasses import replace

from vaezoo.formats.layouts.engine import LDM_ATTENTION, Layout
from vaezoo.formats.layouts.ldm import ALLOWED, BLOCKS, GROUP_NORM, LDM_NAMES

_OUTER = (None, "conv_3x3_unshuffle_average_outer", "conv_3x3_shuffle_duplicate_outer")
SHORTCUTS = {  # of the resamplers, and of the convolutions next to the latents
    **ALLOWED,
    "all": {**{key: values for key, values in GROUP_NORM.items() if key != "resample_out"}, "resample": _OUTER},
    "encoder head": {"shortcut": ("average",)},
    "decoder stem": {"shortcut": ("duplicate",)},
}

HUNYUAN_NAMES = replace(
    LDM_NAMES,
    layout="hunyuan",
    blocks=BLOCKS,
    modules={
        **LDM_NAMES.modules,
        "encoder level layers": "encoder.down.{order}.block.{r}",
        "encoder level attentions": "encoder.down.{order}.attn.{r}",
        "encoder level resample": "encoder.down.{order}.downsample.conv",
        "decoder level layers": "decoder.up.{order}.block.{r}",
        "decoder level attentions": "decoder.up.{order}.attn.{r}",
        "decoder level resample": "decoder.up.{from_order}.upsample.conv",
    },
    latents=("gaussian",),
    allowed=SHORTCUTS,
)
HUNYUAN = Layout(
    about="HunyuanImage 2.1 by Tencent.",
    tensor_names=HUNYUAN_NAMES.tensor_names,
    renamed=LDM_ATTENTION,
    one_frame=True,  # as in the original's `load_state_dict`
)
