"""Published diffusers configs, with the networks and latent statistics they describe."""

from typing import Any

from vaezoo.specs.stats import LatentStats

DOWN, UP = "DownEncoderBlock2D", "UpDecoderBlock2D"
RES, VIT = "ResBlock", "EfficientViTBlock"
WIDTHS = [128, 256, 512, 512]
VIDEO_MEAN = [-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508]
VIDEO_MEAN += [0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921]
VIDEO_STD = [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743]
VIDEO_STD += [3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160]


def kl(widths: list[int], latent: int, down: list[str] | None = None, up: list[str] | None = None, **more: Any) -> dict:
    """A config of AutoencoderKL as `save_pretrained` writes it."""
    return {
        "_class_name": "AutoencoderKL",
        "_diffusers_version": "0.30.0",
        "_name_or_path": "somewhere",
        "act_fn": "silu",
        "block_out_channels": widths,
        "down_block_types": down or [DOWN] * len(widths),
        "force_upcast": True,
        "in_channels": 3,
        "latent_channels": latent,
        "layers_per_block": 2,
        "norm_num_groups": 32,
        "out_channels": 3,
        "sample_size": 1024,
        "up_block_types": up or [UP] * len(widths),
        **more,
    }


NO_QUANT = {"use_quant_conv": False, "use_post_quant_conv": False, "latents_mean": None, "latents_std": None}
OLD = {  # that of sd-vae-ft-mse: without norm_num_groups, scaling_factor and all that came later
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.4.2",
    "act_fn": "silu",
    "block_out_channels": WIDTHS,
    "down_block_types": [DOWN] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "out_channels": 3,
    "sample_size": 256,
    "up_block_types": [UP] * 4,
}
FLUX2 = {
    **kl(WIDTHS, 32, use_quant_conv=True, use_post_quant_conv=True, mid_block_add_attention=True),
    "_class_name": "AutoencoderKLFlux2",
    "batch_norm_eps": 0.0001,
    "batch_norm_momentum": 0.1,
    "patch_size": [2, 2],
}
TINY = {
    "_class_name": "AutoencoderTiny",
    "_diffusers_version": "0.20.0.dev0",
    "act_fn": "relu",
    "block_out_channels": [64] * 4,
    "decoder_block_out_channels": [64] * 4,
    "encoder_block_out_channels": [64] * 4,
    "force_upcast": False,
    "in_channels": 3,
    "latent_channels": 4,
    "latent_magnitude": 3,
    "latent_shift": 0.5,
    "num_decoder_blocks": [3, 3, 3, 1],
    "num_encoder_blocks": [1, 3, 3, 3],
    "out_channels": 3,
    "scaling_factor": 1.0,
    "upsampling_scaling_factor": 2,
}


def dc(deeper: int, latent: int, scale: float) -> dict:
    """A config of DC-AE with so many levels below those of f32."""
    widths = [128, 256, 512, 512, 1024, 1024, 2048, 2048][: 6 + deeper]
    kinds, levels = [RES] * 3 + [VIT] * (3 + deeper), 6 + deeper
    return {
        "_class_name": "AutoencoderDC",
        "_diffusers_version": "0.32.0.dev0",
        "attention_head_dim": 32,
        "decoder_act_fns": ["relu"] * 3 + ["silu"] * (3 + deeper),
        "decoder_block_out_channels": widths,
        "decoder_block_types": kinds,
        "decoder_layers_per_block": [0, 5, 10] + [2] * (3 + deeper),
        "decoder_norm_types": ["batch_norm"] * 3 + ["rms_norm"] * (3 + deeper),
        "decoder_qkv_multiscales": [[]] * levels,
        "downsample_block_type": "pixel_unshuffle",
        "encoder_block_out_channels": widths,
        "encoder_block_types": kinds,
        "encoder_layers_per_block": [0, 4, 8] + [2] * (3 + deeper),
        "encoder_qkv_multiscales": [[]] * levels,
        "in_channels": 3,
        "latent_channels": latent,
        "scaling_factor": scale,
        "upsample_block_type": "pixel_shuffle",
    }


SANA = {
    **dc(0, 32, 0.41407),
    "decoder_act_fns": "silu",
    "decoder_layers_per_block": [3] * 6,
    "decoder_norm_types": "rms_norm",
    "decoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
    "downsample_block_type": "conv",
    "encoder_layers_per_block": [2, 2, 2, 3, 3, 3],
    "encoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
    "upsample_block_type": "interpolate",
}
DC_LITE = {
    **SANA,
    "decoder_block_types": RES,
    "decoder_conv_act_fn": "silu",
    "decoder_layers_per_block": [0, 3, 5, 4, 4, 4],
    "upsample_block_type": "pixel_shuffle",
}
HUNYUAN = {
    "_class_name": "AutoencoderKLHunyuanImage",
    "_diffusers_version": "0.36.0.dev0",
    "block_out_channels": [128, 256, 512, 512, 1024, 1024],
    "downsample_match_channel": True,
    "in_channels": 3,
    "latent_channels": 64,
    "layers_per_block": 2,
    "out_channels": 3,
    "sample_size": 384,
    "scaling_factor": 0.75289,
    "spatial_compression_ratio": 32,
    "upsample_match_channel": True,
}
VIDEO = {
    "_diffusers_version": "0.34.0.dev0",
    "attn_scales": [],
    "base_dim": 96,
    "dim_mult": [1, 2, 4, 4],
    "dropout": 0.0,
    "latents_mean": VIDEO_MEAN,
    "latents_std": VIDEO_STD,
    "num_res_blocks": 2,
    "temperal_downsample": [False, True, True],
    "z_dim": 16,
}
ASYMMETRIC = {
    "_class_name": "AsymmetricAutoencoderKL",
    "_diffusers_version": "0.19.0.dev0",
    "act_fn": "silu",
    "block_out_channels": [192, 384, 768, 768],
    "down_block_out_channels": WIDTHS,
    "down_block_types": [DOWN] * 4,
    "force_upcast": False,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_down_block": 2,
    "layers_per_up_block": 3,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 256,
    "scaling_factor": 0.18215,
    "up_block_out_channels": [192, 384, 768, 768],
    "up_block_types": [UP] * 4,
}
X2 = {"layers_per_up_block": 5, "up_block_out_channels": [256, 512, 1024, 1024]}
LEVELS, ATTN = [128, 128, 256, 256, 512], "Attn"
EDM = {"latents_mean": [-1.6574, 1.886, -1.383, 2.5155], "latents_std": [8.4927, 5.9022, 6.5498, 5.2299]}

VIDEO_STATS = LatentStats(mean=tuple(VIDEO_MEAN), std=tuple(VIDEO_STD))
PACKED = LatentStats(pack=2, eps=1e-4)

# What is published -> (preset, config, latent statistics). Sources: the conversion scripts of diffusers, its tests
# (tests/single_file, tests/models/autoencoders) and the papers' code.
PUBLISHED: dict[str, tuple[str, dict[str, Any], LatentStats]] = {
    "sd": ("ldm_f8_z4", OLD, LatentStats(scale=0.18215)),
    "sdxl": ("ldm_f8_z4", kl(WIDTHS, 4, scaling_factor=0.13025), LatentStats(scale=0.13025)),
    "playground": (
        "ldm_f8_z4",
        kl(WIDTHS, 4, scaling_factor=0.5, **EDM),
        LatentStats(scale=0.5, mean=tuple(EDM["latents_mean"]), std=tuple(EDM["latents_std"])),
    ),
    "x4-upscaler": ("ldm_f4_z4", kl(WIDTHS[:3], 4, scaling_factor=0.08333), LatentStats(scale=0.08333)),
    "sd3": (
        "ldm_f8_z16",
        kl(WIDTHS, 16, scaling_factor=1.5305, shift_factor=0.0609, **NO_QUANT),
        LatentStats(scale=1.5305, shift=0.0609),
    ),
    "flux1": (
        "ldm_f8_z16",
        kl(WIDTHS, 16, scaling_factor=0.3611, shift_factor=0.1159, mid_block_add_attention=True, **NO_QUANT),
        LatentStats(scale=0.3611, shift=0.1159),
    ),
    "kl-f16": (
        "ldm_f16_z16",
        kl(LEVELS, 16, [DOWN] * 4 + [ATTN + DOWN], [ATTN + UP] + [UP] * 4),
        LatentStats(scale=0.18215),
    ),
    "mar": (
        "mar_f16_z16",
        kl(LEVELS, 16, [DOWN] * 4 + [ATTN + DOWN], scaling_factor=0.2325),
        LatentStats(scale=0.2325),
    ),
    "flux2": ("flux2_f8_z32", FLUX2, PACKED),
    "flux2-small": ("flux2_small_f8_z32", {**FLUX2, "decoder_block_out_channels": [96, 192, 384, 384]}, PACKED),
    "taesd": ("taesd_f8_z4", TINY, LatentStats(scale=1.0)),
    "taesd3": (
        "taesd_f8_z16",
        {**TINY, "latent_channels": 16, "shift_factor": 0.0, "upsample_fn": "nearest"},
        LatentStats(scale=1.0),
    ),
    "dc-ae-f32c32-in": ("dcae_f32_z32", dc(0, 32, 0.3189), LatentStats(scale=0.3189)),
    "dc-ae-f64c128-in": ("dcae_f64_z128", dc(1, 128, 0.2889), LatentStats(scale=0.2889)),
    "dc-ae-f128c512-mix": ("dcae_f128_z512", dc(2, 512, 0.3620), LatentStats(scale=0.3620)),
    "sana": ("sana_f32_z32", SANA, LatentStats(scale=0.41407)),
    "sana, spelt as by efficientvit": (
        "sana_f32_z32",
        {**SANA, "downsample_block_type": "Conv"},
        LatentStats(scale=0.41407),
    ),
    "dc-ae-lite": ("dcae_lite_f32_z32", DC_LITE, LatentStats(scale=0.41407)),
    "hunyuanimage-2.1": ("hunyuanimage_f32_z64", HUNYUAN, LatentStats(scale=0.75289)),
    "qwen-image": ("qwenimage_f8_z16", {**VIDEO, "_class_name": "AutoencoderKLQwenImage"}, VIDEO_STATS),
    "wan-2.1": ("qwenimage_f8_z16", {**VIDEO, "_class_name": "AutoencoderKLWan"}, VIDEO_STATS),
    "asymmetric-x-1-5": ("asym_x1_5_f8_z4", ASYMMETRIC, LatentStats(scale=0.18215)),
    "asymmetric-x-2": ("asym_x2_f8_z4", {**ASYMMETRIC, **X2}, LatentStats(scale=0.18215)),
}
