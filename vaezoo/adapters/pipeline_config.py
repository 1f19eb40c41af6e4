"""The entries of `DiffusersVAE.config`, from which pipelines of diffusers learn sizes and latent statistics."""

import math
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from vaezoo.adapters.outputs import DiffusersConfig
from vaezoo.errors import InputError
from vaezoo.nn.vae import VAE
from vaezoo.specs.stats import LatentStats

PACK = 2  # of Flux2Pipeline, the only pipeline that packs latents before it normalizes them


def pipeline_config(vae: VAE, stats: LatentStats) -> DiffusersConfig:
    """The config of an adapter; raises `InputError` if pipelines cannot express the downscale or packing."""
    widths = _widths(vae)
    return DiffusersConfig(
        in_channels=vae.spec.image.channels,
        out_channels=vae.spec.image.channels,
        latent_channels=vae.latent_channels,
        block_out_channels=widths,
        encoder_block_out_channels=widths,
        spatial_compression_ratio=vae.downscale,
        sample_size=64 * vae.downscale,  # diffusers wants one, a convolutional network has none
        force_upcast=True,
        **_normalization(vae, stats),
    )


def _widths(vae: VAE) -> tuple[int, ...]:
    """Channels of the encoder at full size, half, quarter…; pipelines compute the downscale from their number."""
    levels = vae.downscale.bit_length()
    if vae.downscale != 2 ** (levels - 1):
        text = f"has {vae.downscale} pixels per latent pixel; pipelines of diffusers support powers of two only"
        raise InputError(f"{vae.spec.label} {text}")
    widths, scale = [0] * levels, Fraction(1)
    for block in vae.encoder:
        level = int(1 / scale).bit_length() - 1
        widths[level] = max(widths[level], block.out)
        scale *= block.scale
    # a row that divides by 4 or more leaves levels without a row
    return tuple(width or max(widths[: level + 1]) for level, width in enumerate(widths))


def known_stats(vae: VAE) -> LatentStats:
    """The latent statistics; raises `InputError` if unknown, because diffusers would use defaults instead."""
    if vae.latent_stats is None:
        raise InputError(
            f"{vae.spec.label}: diffusers needs the latent statistics, which are unknown: {vae.statistics_remedy}; "
            "vaezoo.LatentStats(scale=1.0) leaves latents as they are"
        )
    return vae.latent_stats


def _normalization(vae: VAE, stats: LatentStats) -> dict[str, Any]:
    """The entries by which pipelines normalize latents."""
    if stats.pack:
        if stats.pack != PACK:
            raise InputError(
                f"{vae.spec.label}: latents are packed by {stats.pack}; pipelines of diffusers pack by {PACK}"
            )
        plain = stats.var is not None and stats.scale is None
        return {"batch_norm_eps": stats.eps if plain else 0.0}
    scale = 1.0 if stats.scale is None else stats.scale
    if stats.mean is None:
        shift = stats.shift or 0.0
        return {"scaling_factor": scale, "shift_factor": shift, "latents_mean": None, "latents_std": None}
    std = [scale / gain for gain in stats.gain]
    return {"scaling_factor": scale, "shift_factor": None, "latents_mean": list(stats.mean), "latents_std": std}


def batch_norm(stats: LatentStats, channels: int, eps: float, device: torch.device) -> nn.BatchNorm2d:
    """A batch norm whose running statistics are those of packed latents, of which there may be one for all channels."""
    packed = channels * (stats.pack or 1) ** 2
    bn = nn.BatchNorm2d(packed, eps=eps, affine=False, device=device)
    variance = stats.var if eps and stats.var else [math.pow(gain, -2) for gain in stats.gain]
    mean, var = torch.tensor(stats.offset).expand(packed), torch.tensor(variance).expand(packed)
    state = {"running_mean": mean, "running_var": var}
    bn.load_state_dict({**bn.state_dict(), **state})
    return bn
