"""Layouts: how other libraries name the same tensors, one file for each library. One table serves import and export."""

from vaezoo.formats.layouts.bfl import BFL
from vaezoo.formats.layouts.dcae import DC_AE
from vaezoo.formats.layouts.diffusers import DIFFUSERS
from vaezoo.formats.layouts.documented import DOCUMENTED, EXPLAININGAI
from vaezoo.formats.layouts.engine import Layout, Shapes, TensorNames
from vaezoo.formats.layouts.hunyuan import HUNYUAN
from vaezoo.formats.layouts.ldm import LDM
from vaezoo.formats.layouts.taesd import TAESD
from vaezoo.formats.layouts.wan import WAN
from vaezoo.specs.model import ModelSpec


def _native(spec: ModelSpec, shapes: Shapes) -> list[TensorNames]:
    return [TensorNames(key, (key,), shape) for key, shape in shapes.items()]


NATIVE = Layout(
    about="Our own names, and the statistics of packed latents.", tensor_names=_native, statistics="latents"
)

LAYOUTS: dict[str, Layout] = {
    "native": NATIVE,
    "documented": DOCUMENTED,
    "explainingai": EXPLAININGAI,
    "diffusers": DIFFUSERS,
    "ldm": LDM,
    "bfl": BFL,
    "taesd": TAESD,
    "dc_ae": DC_AE,
    "hunyuan": HUNYUAN,
    "wan": WAN,
}
