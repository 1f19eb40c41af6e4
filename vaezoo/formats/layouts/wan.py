"""Layout `wan`: Wan-Video/Wan2.1@f1f7c88 `wan/modules/vae.py`, which Qwen-Image shares, for single images."""

from vaezoo.formats.layouts.engine import Layout
from vaezoo.formats.layouts.ldm import ALLOWED, BLOCKS, GROUP_NORM
from vaezoo.formats.layouts.name_table import NameTable

OVER_TIME = r".*\.time_conv\..*"  # convolutions that a single image does not meet

WAN_NAMES = NameTable(
    layout="wan",
    blocks=BLOCKS,
    modules={
        "stem": "{half}.conv1",
        "encoder level layers": "encoder.downsamples.{flat}",
        "encoder level resample": "encoder.downsamples.{flat}.resample.1",
        "decoder level layers": "decoder.upsamples.{flat}",
        "decoder level resample": "decoder.upsamples.{flat}.resample.1",
        "mid layers": "{half}.middle.{r_times_2}",
        "mid attentions": "{half}.middle.1",
        "head norm": "{half}.head.0",
        "head conv": "{half}.head.2",
        "encoder quant": "conv1",
        "decoder quant": "conv2",
    },
    inside={
        **{"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"},
        **{"skip": "shortcut", "norm": "norm", "qkv": "to_qkv", "proj": "proj"},
    },
    allowed={
        **ALLOWED,
        "all": {
            **{key: values for key, values in GROUP_NORM.items() if key != "resample_out"},
            **{"norm": ("l2",), "groups": (None,), "eps": (1e-12,)},
        },
        "level": {"heads": (0,)},
    },
    latents=("gaussian",),
    gain="gamma",
    causal=True,
)
WAN = Layout(
    about="Wan 2.1 and Qwen-Image on single images; read only.",
    tensor_names=WAN_NAMES.tensor_names,
    ignored=(OVER_TIME,),
)
