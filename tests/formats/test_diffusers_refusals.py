"""Configs of diffusers that have no equivalent here, networks that no class of diffusers has, and hostile files."""

import json
import re
import resource
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from support.checkout import ROOT
from support.diffusers_published import ASYMMETRIC, FLUX2, HUNYUAN, PUBLISHED, SANA, TINY, VIDEO, dc, kl
from support.hostile_files import damaged, rearranged

import vaezoo
from vaezoo.formats.diffusers.autoencoder import WritableConfig
from vaezoo.formats.diffusers.classes import CLASSES, config_from_spec, differences, spec_from_config
from vaezoo.nn.build import build
from vaezoo.specs.parse import parse_json
from vaezoo.specs.stats import LatentStats
from vaezoo.specs.tree import Location, from_plain

SD = kl([32, 64], 4)
WAN = {**VIDEO, "_class_name": "AutoencoderKLWan"}
MEMORY = 400 * 1024  # KiB that a whole test may add to the process
FAST = settings(
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=20_000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def read(config: Any):
    return spec_from_config(from_plain(config, Location("config.json")))


REFUSED = [
    ({}, r"_class_name is None, not one of these classes of diffusers: AutoencoderKL, "),
    ([], r"_class_name is None"),
    ({"_class_name": ["AutoencoderKL"]}, r"_class_name is \['AutoencoderKL'\], not one"),
    ({"_class_name": "AutoencoderKLMochi"}, r"'AutoencoderKLMochi', not one of these"),
    ({**SD, "layers_per_blok": 2}, r"unknown key 'layers_per_blok' for AutoencoderKL; did you mean 'layers_per_block'"),
    ({**SD, "act_fn": "gelu"}, r"act_fn: unknown act_fn 'gelu'; did you mean 'relu'"),
    (
        {**SD, "down_block_types": ["DownBlock2D", "DownEncoderBlock2D"]},
        r"down_block_types\[0\]: .*'DownEncoderBlock2D'",
    ),
    ({**SD, "block_out_channels": [32, 64, 64]}, r"down_block_types: 2 items, but block_out_channels has 3"),
    ({**SD, "block_out_channels": []}, r"block_out_channels: 0 levels; must be 1 to 32"),
    ({**SD, "block_out_channels": [32] * 33, "down_block_types": []}, r"block_out_channels: 33 levels"),
    ({**SD, "block_out_channels": [32, -64]}, r"block_out_channels\[1\]: expected 1 to 65,536, got -64"),
    ({**SD, "block_out_channels": "32"}, r"block_out_channels: expected a list \(each item an integer\), got '32'"),
    ({**SD, "layers_per_block": "2"}, r"layers_per_block: expected an integer, got '2'"),
    ({**SD, "layers_per_block": True}, r"layers_per_block: expected an integer, got true"),
    ({**SD, "layers_per_block": {"a": {"b": 1}}}, r"layers_per_block: expected an integer, got a mapping"),
    ({**SD, "out_channels": 4}, r"out_channels: 4, but in_channels is 3"),
    ({**SD, "in_channels": 65, "out_channels": 65}, r"image.channels: expected 1 to 64, got 65"),
    ({**SD, "scaling_factor": 0}, r"scaling_factor: expected 1e-06 to 1,000,000.0, got 0"),
    ({**SD, "latents_mean": [0.0] * 4}, r"latent_stats needs mean and std"),
    ({**SD, "latents_mean": [0.0], "latents_std": [1.0]}, r"latent_stats.mean has 1 values for 4 latent channels"),
    ({**FLUX2, "patch_size": [4, 4]}, r"patch_size\[0\]: expected 2, got 4"),
    ({**FLUX2, "patch_size": [2]}, r"patch_size: 1 numbers; must be \[2, 2\]"),
    ({**FLUX2, "decoder_block_out_channels": [96]}, r"decoder_block_out_channels: 1 items"),
    ({**TINY, "act_fn": "silu"}, r"act_fn: expected 'relu', got 'silu'"),
    ({**TINY, "upsample_fn": "bilinear"}, r"upsample_fn: expected 'nearest', got 'bilinear'"),
    ({**TINY, "upsampling_scaling_factor": 4}, r"upsampling_scaling_factor: expected 2, got 4"),
    ({**TINY, "num_encoder_blocks": [0, 3, 3, 3]}, r"num_encoder_blocks\[0\]: expected 1 to 64, got 0"),
    ({**TINY, "encoder_block_out_channels": [64, 64, 64, 32]}, r"encoder_block_out_channels: several widths"),
    ({**SANA, "encoder_block_types": "Block"}, r"encoder_block_types: expected 'ResBlock' or 'EfficientViTBlock' or"),
    ({**SANA, "encoder_block_types": ["ResBlock"] * 5}, r"encoder_block_types: 5 items"),
    (
        {**SANA, "decoder_norm_types": ["layer_norm"] * 6},
        r"decoder_norm_types\[0\]: expected 'rms_norm' or",
    ),
    ({**SANA, "decoder_norm_types": "batch_norm"}, r"decoder_norm_types: 'batch_norm' for an EfficientViTBlock"),
    ({**SANA, "encoder_layers_per_block": [0, 2, 2, 3, 3, 3]}, r"downsample_block_type: 'conv' as a stem"),
    ({**SANA, "decoder_layers_per_block": [3, 3, 3, 3, 3, 0]}, r"decoder_layers_per_block: a level without layers"),
    ({**dc(0, 32, 1.0), "encoder_layers_per_block": [0]}, r"encoder_layers_per_block: 1 items"),
    ({**HUNYUAN, "downsample_match_channel": False}, r"block_out_channels: 128 to 256 without a resampler"),
    ({**HUNYUAN, "spatial_compression_ratio": 8}, r"block_out_channels: 512 to 1024 without a resampler"),
    ({k: v for k, v in HUNYUAN.items() if k != "latent_channels"}, r"missing latent_channels"),
    ({**WAN, "is_residual": True}, r"is_residual: expected False, got true"),
    ({**WAN, "patch_size": 2}, r"patch_size: expected null, got 2"),
    ({**WAN, "attn_scales": [0.5]}, r"attn_scales: attention inside levels is not supported"),
    ({**WAN, "z_dim": 8}, r"latent_stats.mean has 16 values for 8 latent channels"),
    ({**ASYMMETRIC, "use_quant_conv": False}, r"unknown key 'use_quant_conv' for AsymmetricAutoencoderKL"),
    ({**SD, "block_out_channels": [32] * 1_000_000}, r"too deep or too large"),
    ({**SD, "block_out_channels": [10**30] * 2}, r"expected a finite number below 1e\+18"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_config_without_an_equivalent_is_refused_with_its_location(config, message):
    with pytest.raises(vaezoo.SpecError, match=message) as caught:
        read(config)
    assert str(caught.value).startswith("config.json: ")


def test_the_docs_say_which_classes_are_read_and_written():
    page = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| yes.* \| (yes|no)", page, re.MULTILINE)
    assert rows == [(name, "yes" if issubclass(cls, WritableConfig) else "no") for name, cls in CLASSES.items()]


def test_all_faults_of_a_config_come_in_one_message():
    with pytest.raises(vaezoo.SpecError) as caught:
        read({**SD, "act_fn": "gelu", "layers_per_block": 0, "surprise": 1})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("name", CLASSES)
def test_no_key_is_both_read_and_ignored(name):
    config = CLASSES[name]
    assert not {field.name for field in fields(config)} & set(config.IGNORED)


TEXTS = [json.dumps(config).encode() for _, config, _ in PUBLISHED.values()]


_built: set[str] = set()  # spec hashes; many damaged configs describe the same network


DAMAGED = damaged(TEXTS) | rearranged([config for _, config, _ in PUBLISHED.values()])


@FAST
@given(DAMAGED)
def test_a_damaged_config_is_read_or_refused_and_nothing_is_allocated(content):
    read_damaged(content)


@pytest.mark.slow
@settings(FAST, max_examples=400)
@given(DAMAGED)
def test_many_damaged_configs_are_read_or_refused_and_nothing_is_allocated(content):
    read_damaged(content)


def read_damaged(content: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        spec = spec_from_config(parse_json(content.decode("utf-8", "replace"), "config.json")).spec
        if spec.hash in _built:
            return
        message, parameters = "a network", list(build(spec, "meta").parameters())
        _built.add(spec.hash)
    except vaezoo.VaezooError as error:
        message, parameters = str(error), []
    assert 0 < len(message) < 50_000
    assert all(p.is_meta for p in parameters)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


SPECS = [
    ("vae_f8_z4", r"the nearest is \w+, except for "),
    ("cosmos_f8_z16", r"nearest is \w+, except for "),
    (
        "ldm_reflect_f8_z4",
        r"AutoencoderKL, except for encoder\[0\]\.padding \('reflect', not None\); save it with vaezoo\.save",
    ),
    ("taef2_f8_z32", r"nearest is AutoencoderTiny, except for encoder\[5\]\.pool_groups \(4, not None\)"),
    ("asym_x2_f8_z4", r"nearest is AutoencoderKLFlux2, except for decoder\[3\]\.layers \(6, not 3\)"),
    ("qwenimage_f8_z16", r"nearest is AutoencoderKL"),
]


@pytest.mark.parametrize(("name", "message"), SPECS)
def test_a_network_that_diffusers_lacks_is_refused_with_the_nearest_class(name, message):
    spec = vaezoo.get_spec(name)
    with pytest.raises(vaezoo.CheckpointError, match=message) as caught:
        config_from_spec(spec)
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize("name", vaezoo.list_models())
def test_every_network_of_the_zoo_is_written_exactly_or_refused(name):
    spec = vaezoo.get_spec(name)
    try:
        config = config_from_spec(spec)
    except vaezoo.CheckpointError:
        return
    assert read(config).spec.hash == spec.hash
    assert differences(read(config).spec, spec) == []


STATS = LatentStats(mean=(0.1, 0.2, 0.3, 0.4), std=(1.0, 2.0, 3.0, 4.0))


def test_statistics_are_written_so_that_latents_are_normalized_alike():
    spec = vaezoo.get_spec("ldm_f8_z4")
    scaled = LatentStats(scale=0.5, shift=0.25)
    batch = LatentStats(mean=(0.0,) * 4, var=(1.0, 2.0, 3.0, 4.0), eps=1e-5)
    for stats in (STATS, scaled, batch, LatentStats(scale=0.5, mean=STATS.mean, std=STATS.std)):
        back = read(config_from_spec(spec, stats)).stats
        assert (back.offset, back.gain) == (stats.offset, stats.gain)
    assert read(config_from_spec(spec)).stats == LatentStats(scale=1.0)


def test_packed_statistics_choose_the_class_that_has_them():
    spec = vaezoo.get_spec("flux2_f8_z32")
    packed = LatentStats(pack=2, mean=(0.0,) * 128, var=(1.0,) * 128, eps=1e-3)
    assert config_from_spec(spec, packed)["_class_name"] == "AutoencoderKLFlux2"
    assert config_from_spec(spec, packed)["batch_norm_eps"] == 1e-3
    assert config_from_spec(spec)["_class_name"] == "AutoencoderKL"


def test_statistics_that_a_class_cannot_hold_are_refused():
    with pytest.raises(vaezoo.CheckpointError, match=r"nearest is AutoencoderTiny, except for latent_stats \("):
        config_from_spec(vaezoo.get_spec("taesd_f8_z4"), STATS)
    with pytest.raises(vaezoo.CheckpointError, match=r"nearest is AutoencoderDC, except for latent_stats \("):
        config_from_spec(vaezoo.get_spec("sana_f32_z32"), LatentStats(scale=1.0, shift=0.5))
    small = vaezoo.get_spec("flux2_small_f8_z32")
    with pytest.raises(vaezoo.CheckpointError, match=r"nearest is AutoencoderKLFlux2, except for latent_stats \("):
        config_from_spec(small, LatentStats(scale=1.0))
    assert re.match("AutoencoderKLFlux2", config_from_spec(small)["_class_name"])
