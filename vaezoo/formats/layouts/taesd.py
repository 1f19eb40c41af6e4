"""Layout `taesd`: madebyollin/taesd@5cccb12d `taesd.py`, where encoder and decoder are sequences of modules."""

from vaezoo.formats.layouts.engine import Layout
from vaezoo.formats.layouts.name_table import NameTable

TAESD_NAMES = NameTable(
    layout="taesd",
    blocks={
        "encoder": r"rescale conv (tiny_down )+conv|rescale (conv_act )+(tiny_down )+conv",
        "decoder": r"clamp conv_act (tiny_up )+conv rescale",
    },
    modules=dict.fromkeys(("stem", "conv_act", "level layers", "level resample", "quant"), "{half}.{flat}"),
    inside={
        **{"conv1": "conv.0", "conv2": "conv.2", "conv3": "conv.4", "skip": "skip"},
        **{"pool.conv1": "pool.0", "pool.norm": "pool.1", "pool.conv2": "pool.3"},
    },
    allowed={
        "all": {
            **{"act": ("relu",), "kernel": (3,), "limit": (3.0,)},
            "resample": (None, "conv_3x3_no_bias", "nearest_conv_3x3_no_bias"),
        },
        "encoder rescale": {"gain": (0.5,), "offset": (0.5,)},
        "decoder rescale": {"gain": (2.0,), "offset": (-1.0,)},
    },
    counted={"clamp": 1, "conv": 1, "conv_act": 2},  # a convolution and its activation
    upsampler=2,  # an upsampling and a convolution
)
TAESD = Layout(
    about="TAESD, in two files: `ENCODER.safetensors,DECODER.safetensors`.",
    tensor_names=TAESD_NAMES.tensor_names,
    renamed=((r"taesd_((?:encoder|decoder)\..*)", r"\1"),),
    two_files=True,
)
