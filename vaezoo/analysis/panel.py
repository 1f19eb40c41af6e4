"""The static panel: costs, memory and receptive fields of a network as columns of a table, without running it."""

from collections.abc import Sequence

import torch

from vaezoo.analysis.costs import costs_of
from vaezoo.analysis.memory import activation_peak
from vaezoo.analysis.receptive import receptive_fields
from vaezoo.errors import InputError
from vaezoo.nn.build import build
from vaezoo.nn.stack import count_params
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import HALVES, ModelSpec

SIZES = (256, 512, 1024)


def static_panel(spec: ModelSpec, sizes: Sequence[int] = SIZES) -> dict[str, float | int | str]:
    """Columns of one network, counted on the meta device.

    Args:
        spec: The network.
        sizes: Pixels per side of square images; a column that depends on the size ends with it.

    Returns:
        Values by column. For the network: `params`, `params_encoder`, `params_decoder`, `downscale`, `latent_channels`,
        `compression_ratio` (values of an image / values of its latent); `receptive_field_latent` (pixels per side
        that a latent depends on through convolutions), `receptive_field_output` (latents per side that an output pixel
        depends on), `receptive_field_pixels` (input pixels per side that an output pixel depends on); `global_encoder`,
        `global_decoder` (layers with a global receptive field: "attention", "group norm", both joined by "+", or "").
        For each size and one image: `latent_shape_256` ("4x32x32"), `gmacs_256`, `gmacs_encoder_256`,
        `gmacs_decoder_256`, `attention_share_256` (fraction of `gmacs_256`, in [0, 1]), and
        `activation_peak_mib_encoder_256` with `…_decoder_256`: MiB of all float32 tensors alive at once at inference,
        as `activation_peak` counts them.

    Raises:
        InputError: If `sizes` is empty, or has a size that is not a positive multiple of `size_multiple`.
        SpecError: If the network cannot be built, or its receptive field is not known.
    """
    if not sizes:
        raise InputError("static_panel: sizes is empty; name at least one, such as (256,)")
    vae = build(spec, "meta").eval()
    fields = receptive_fields(vae)
    params = {f"params_{half}": count_params(getattr(vae, half)) for half in HALVES}
    panel: dict[str, float | int | str] = {
        "params": sum(params.values()),
        **params,
        "downscale": vae.downscale,
        "latent_channels": vae.latent_channels,
        "compression_ratio": spec.image.channels * vae.downscale**2 / vae.latent_channels,
        "receptive_field_latent": fields.latent,
        "receptive_field_output": fields.output,
        "receptive_field_pixels": fields.through,
        "global_encoder": "+".join(fields.encoder_global),
        "global_decoder": "+".join(fields.decoder_global),
    }
    for size in sizes:
        panel |= {f"{name}_{size}": value for name, value in _at(vae, size).items()}
    return panel


def _at(vae: VAE, size: int) -> dict[str, float | str]:
    """The columns of one size, whose names do not have it yet."""
    counted = costs_of(vae, size, size)
    side = size // vae.downscale
    shapes = {"encoder": (vae.spec.image.channels, size, size), "decoder": (vae.latent_channels, side, side)}
    peaks = {
        f"activation_peak_mib_{half}": activation_peak(getattr(vae, half), _empty(shape)) / 2**20
        for half, shape in shapes.items()
    }
    return {
        "latent_shape": "x".join(map(str, shapes["decoder"])),
        "gmacs": counted.gmacs(),
        **{f"gmacs_{half}": counted.gmacs(half) for half in HALVES},
        "attention_share": counted.attention_share,
        **peaks,
    }


def _empty(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.empty(1, *shape, device="meta")
