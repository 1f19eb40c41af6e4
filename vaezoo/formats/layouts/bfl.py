"""Layout `bfl`: black-forest-labs/flux2@ab7cca6 `src/flux2/autoencoder.py`, which extends that of FLUX.1."""

from dataclasses import replace

from vaezoo.formats.layouts.engine import BATCH_COUNTERS, LDM_ATTENTION, Layout, read_only_if_asymmetric
from vaezoo.formats.layouts.ldm import BLOCKS, LDM_NAMES

BFL_NAMES = replace(
    LDM_NAMES,
    layout="bfl",
    blocks=BLOCKS,
    modules={
        **LDM_NAMES.modules,
        "encoder quant": "encoder.quant_conv",
        "decoder quant": "decoder.post_quant_conv",
    },
    latents=("gaussian",),
)
BFL = Layout(
    about="FLUX.1 and FLUX.2 by Black Forest Labs, with quant convs inside encoder and decoder, and latent statistics.",
    tensor_names=BFL_NAMES.tensor_names,
    ignored=(BATCH_COUNTERS,),
    renamed=LDM_ATTENTION,
    statistics="bn",
    read_only=read_only_if_asymmetric,
)
