"""Layouts: how other libraries name the same tensors. One function serves import and export."""

from vaezoo.errors import CheckpointError
from vaezoo.formats.layouts.dcae import DC_AE, DIFFUSERS_DC
from vaezoo.formats.layouts.dialects import BFL, DIFFUSERS_HUNYUAN, DIFFUSERS_KL, DIFFUSERS_QWEN, HUNYUAN, LDM, WAN
from vaezoo.formats.layouts.documented import documented
from vaezoo.formats.layouts.engine import Layout, Part, Parts, Shapes, over_time
from vaezoo.formats.layouts.taesd import diffusers_tiny, taesd
from vaezoo.specs.model import ModelSpec

_COUNTERS = r".*\.num_batches_tracked"  # of batch norms, which use their stored statistics here
_TRAINING = (r"loss\..*", r"model_ema\..*", r"foundation_model\..*", r"linear_proj.*", _COUNTERS)
_WRAPPERS = ("first_stage_model.", "vae.", "model.", "module.", "state_dict.")
_OLD_ATTENTION = tuple(
    (rf"(.*\.attentions\.\d+)\.{old}\.(weight|bias)", rf"\1.{new}.\2")
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
)


def native(spec: ModelSpec, shapes: Shapes) -> list[Part]:
    """Our own names."""
    return [Part(key, (key,), shape) for key, shape in shapes.items()]


def _first_of(name: str, *options: Parts) -> Parts:
    """The parts by the first of several functions that can express a network."""

    def parts(spec: ModelSpec, shapes: Shapes) -> list[Part]:
        faults = []
        for option in options:
            try:
                return option(spec, shapes)
            except CheckpointError as error:
                faults.append(str(error))
        raise CheckpointError(f"layout {name} has no class for {spec.label}: {'; '.join(dict.fromkeys(faults))}")

    return parts


def _masked(spec: ModelSpec, parts: list[Part]) -> str | None:
    """Why the asymmetric autoencoder cannot be written: its decoder also holds a condition encoder.

    It is known by a level of the decoder that is more than one layer deeper than those of the encoder: the decoder of
    AutoencoderKL has exactly one layer more.
    """
    layers = [
        {row.arguments["layers"] for row in half if row.block in ("down", "up")}
        for half in (spec.encoder, spec.decoder)
    ]
    if all(layers) and max(layers[1]) > max(layers[0]) + 1:
        return (
            "only AsymmetricAutoencoderKL has such a decoder, with a condition encoder for masks that was left out here"
        )
    return None


LAYOUTS: dict[str, Layout] = {
    "native": Layout(about="Our own names, and the statistics of packed latents.", parts=native, statistics="latents"),
    "documented": Layout(about="The names of the documented VAE.", parts=documented),
    "diffusers": Layout(
        about="Those of the classes of diffusers: KL, asymmetric, tiny, DC, FLUX.2, HunyuanImage, Qwen-Image, Wan.",
        parts=_first_of(
            "diffusers",
            *(DIFFUSERS_KL.parts, diffusers_tiny, DIFFUSERS_DC.parts, DIFFUSERS_HUNYUAN.parts, DIFFUSERS_QWEN.parts),
        ),
        prefixes=("vae.",),
        drops=(r"decoder\.condition_encoder\..*", r".*\.time_conv\..*", _COUNTERS),
        spellings=_OLD_ATTENTION,
        statistics="bn",
        read_only=lambda spec, parts: over_time(spec, parts) or _masked(spec, parts),
    ),
    "ldm": Layout(
        about="Latent diffusion, Stable Diffusion, FLUX.1, MAR, VA-VAE, Cosmos; alone or within a whole checkpoint.",
        parts=LDM.parts,
        prefixes=_WRAPPERS,
        drops=_TRAINING,
    ),
    "bfl": Layout(
        about="FLUX.1 and FLUX.2 by Black Forest Labs: quant convs inside the halves, latent statistics beside them.",
        parts=BFL.parts,
        prefixes=_WRAPPERS,
        drops=(_COUNTERS,),
        statistics="bn",
    ),
    "taesd": Layout(
        about="TAESD's own, two files: `ENCODER.safetensors,DECODER.safetensors`.",
        parts=taesd,
        prefixes=("taesd_",),
        halves=True,
    ),
    "dc_ae": Layout(about="DC-AE and SANA by efficientvit.", parts=DC_AE.parts, drops=(_COUNTERS,)),
    "hunyuan": Layout(about="HunyuanImage 2.1 by Tencent.", parts=HUNYUAN.parts, prefixes=_WRAPPERS),
    "wan": Layout(
        about="Wan 2.1 and Qwen-Image on single images; read only.",
        parts=WAN.parts,
        prefixes=_WRAPPERS,
        drops=(r".*\.time_conv\..*",),
    ),
}
