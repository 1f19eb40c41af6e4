"""Small random configs and models of every diffusers class."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch

from support.diffusers_published import ATTN, DOWN, RES, UP, VIT
from support.small import randomized

PLAIN = "diffusion_pytorch_model.safetensors"
NORMS = {RES: ["rms_norm", "batch_norm"], VIT: ["rms_norm"]}
ACTS = {RES: ["relu", "silu"], VIT: ["silu"]}


def small_kl(draw: random.Random, attn: bool = True) -> dict[str, Any]:
    levels = draw.randint(1, 3)
    kinds = ("", ATTN) if attn else ("",)
    return {
        "block_out_channels": [draw.choice([8, 16, 24]) for _ in range(levels)],
        "down_block_types": [draw.choice(kinds) + DOWN for _ in range(levels)],
        "up_block_types": [draw.choice(kinds) + UP for _ in range(levels)],
        "layers_per_block": draw.randint(1, 2),
        "act_fn": draw.choice(["silu", "swish", "relu"]),
        "latent_channels": draw.randint(1, 6),
        "norm_num_groups": draw.choice([2, 4]),
        "use_quant_conv": draw.random() < 0.5,
        "use_post_quant_conv": draw.random() < 0.5,
        "mid_block_add_attention": draw.random() < 0.5,
        "in_channels": (channels := draw.choice([1, 3])),
        "out_channels": channels,
    }


def small_flux2(draw: random.Random) -> dict[str, Any]:
    keys = small_kl(draw)
    same = keys["block_out_channels"]
    widths = [draw.choice([8, 16]) for _ in same] if draw.random() < 0.5 else same
    return {**keys, "decoder_block_out_channels": widths if widths != same else None, "batch_norm_eps": 1e-3}


def small_asymmetric(draw: random.Random) -> dict[str, Any]:
    keys = small_kl(draw, attn=False)
    levels = len(keys["block_out_channels"])
    return {
        **{k: keys[k] for k in ("down_block_types", "up_block_types", "latent_channels", "act_fn", "norm_num_groups")},
        "down_block_out_channels": keys["block_out_channels"],
        "up_block_out_channels": [draw.choice([8, 16]) for _ in range(levels)],
        "layers_per_down_block": draw.randint(1, 2),
        "layers_per_up_block": draw.randint(1, 3),
    }


def small_tiny(draw: random.Random) -> dict[str, Any]:
    levels = draw.randint(1, 4)
    return {
        "encoder_block_out_channels": [draw.choice([8, 12])] * levels,
        "decoder_block_out_channels": [draw.choice([8, 12])] * levels,
        "num_encoder_blocks": [draw.randint(1, 3) for _ in range(levels)],
        "num_decoder_blocks": [draw.randint(1, 3) for _ in range(levels)],
        "latent_channels": draw.randint(1, 6),
        "scaling_factor": 1.5,
        "shift_factor": 0.25,
    }


def small_dc(draw: random.Random) -> dict[str, Any]:
    levels = draw.randint(2, 4)
    down = draw.choice(["pixel_unshuffle", "conv"])
    stem = 0 if down == "pixel_unshuffle" and draw.random() < 0.5 else 1
    tail = 0 if draw.random() < 0.5 else 2
    first = [16 if end else 0 for end in (stem, tail)]  # a first level of no layers has a width of no meaning
    encoder, decoder = ([RES, *(draw.choice([RES, VIT]) for _ in range(levels - 1))] for _ in range(2))
    widths = [sorted(draw.choice([16, 32]) for _ in range(levels - 1)) for _ in range(2)]
    return {
        "latent_channels": draw.choice([4, 8]),
        "attention_head_dim": draw.choice([4, 8]) if VIT in encoder + decoder else 32,
        "encoder_block_types": encoder,
        "decoder_block_types": decoder,
        "encoder_block_out_channels": [first[0] or widths[0][0], *widths[0]],
        "decoder_block_out_channels": [first[1] or widths[1][0], *widths[1]],
        "encoder_layers_per_block": [stem, *(draw.randint(1, 2) for _ in range(levels - 1))],
        "decoder_layers_per_block": [tail, *(draw.randint(1, 2) for _ in range(levels - 1))],
        "encoder_qkv_multiscales": [draw.choice([[], [5], [3, 5]]) if kind == VIT else [] for kind in encoder],
        "decoder_qkv_multiscales": [draw.choice([[], [5]]) if kind == VIT else [] for kind in decoder],
        "downsample_block_type": down,
        "upsample_block_type": draw.choice(["pixel_shuffle", "interpolate"]),
        "decoder_norm_types": ["rms_norm", *(draw.choice(NORMS[kind]) for kind in decoder[1:])],
        "decoder_act_fns": ["silu", *(draw.choice(ACTS[kind]) for kind in decoder[1:])],
        "encoder_out_shortcut": draw.random() < 0.5,
        "decoder_in_shortcut": draw.random() < 0.5,
        "decoder_conv_act_fn": draw.choice(["relu", "silu"]),
    }


def small_hunyuan(draw: random.Random) -> dict[str, Any]:
    widths = [32, *(draw.choice([32, 64]) for _ in range(draw.randint(0, 2)))]
    return {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": draw.choice([4, 8]),
        "block_out_channels": sorted(widths),
        "layers_per_block": draw.randint(1, 2),
        "spatial_compression_ratio": 2 ** (len(widths) - 1),
        "sample_size": 64,
        "scaling_factor": 0.7,
    }


def small_video(draw: random.Random) -> dict[str, Any]:
    multiples = [1, *sorted(draw.randint(1, 3) for _ in range(draw.randint(0, 2)))]
    latent = draw.randint(1, 4)
    return {
        "base_dim": draw.choice([4, 8]),
        "z_dim": latent,
        "dim_mult": multiples,
        "num_res_blocks": draw.randint(1, 2),
        "temperal_downsample": [draw.random() < 0.5 for _ in multiples[1:]],
        "latents_mean": [0.5] * latent,
        "latents_std": [2.0] * latent,
    }


SMALL: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "AutoencoderKL": small_kl,
    "AutoencoderKLFlux2": small_flux2,
    "AsymmetricAutoencoderKL": small_asymmetric,
    "AutoencoderTiny": small_tiny,
    "AutoencoderDC": small_dc,
    "AutoencoderKLHunyuanImage": small_hunyuan,
    "AutoencoderKLQwenImage": small_video,
    "AutoencoderKLWan": lambda draw: {**small_video(draw), "decoder_base_dim": draw.choice([None, 8])},
}


def small_model(name: str, seed: int = 0) -> torch.nn.Module:
    """Return a random model of a diffusers class."""
    config = SMALL[name](random.Random(f"{name} {seed}"))
    return randomized(getattr(diffusers, name)(**config)).eval()


def files_of(folder: Path, below: str = "") -> dict[str, bytes]:
    return {f"{below}{path.name}": path.read_bytes() for path in folder.iterdir()}
