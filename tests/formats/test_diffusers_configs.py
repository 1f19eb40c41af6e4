"""Configs of diffusers to specs and back, compared with the parameters of the models that diffusers builds."""

import json
import random
from dataclasses import fields
from typing import Any

import diffusers
import pytest
import torch
from support.diffusers_published import PUBLISHED
from support.diffusers_small import SMALL
from support.representatives import one_of_each

import vaezoo
from vaezoo.formats.diffusers.autoencoder import WritableConfig
from vaezoo.formats.diffusers.classes import CLASSES, config_from_spec, spec_from_config
from vaezoo.nn.build import build
from vaezoo.specs.tree import Location, from_plain

SEEDS = [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 12))]
EXPORTED = [name for name, cls in CLASSES.items() if issubclass(cls, WritableConfig)]


def read(config: dict[str, Any]):
    return spec_from_config(from_plain(config, Location("config.json")))


def diffusers_model(config: dict[str, Any]) -> torch.nn.Module:
    """Build the model of diffusers from a config, on the meta device."""
    cls = getattr(diffusers, config["_class_name"])
    with torch.device("meta"):
        return cls.from_config(config)


def small(name: str, seed: int) -> dict[str, Any]:
    return {"_class_name": name, **SMALL[name](random.Random(f"{name} {seed}"))}


def shaping(model: torch.nn.Module, name: str) -> dict[str, Any]:
    """Return the config keys of a diffusers model that shape its network, in one spelling."""
    keys = {field.name: model.config[field.name] for field in fields(CLASSES[name])}
    return {key: {"swish": "silu", "Conv": "conv"}.get(str(value), value) for key, value in keys.items()}


@pytest.mark.parametrize("published", PUBLISHED)
def test_a_published_config_is_the_preset_with_its_statistics(published):
    preset, config, stats = PUBLISHED[published]
    found = read(config)
    assert found.spec.to_dict() == vaezoo.get_spec(preset).to_dict()
    assert found.spec.hash == vaezoo.get_spec(preset).hash
    assert found.stats == stats


@pytest.mark.parametrize(
    "published",
    one_of_each(
        [p for p, (_, c, _) in PUBLISHED.items() if c["_class_name"] in EXPORTED],
        lambda published: PUBLISHED[published][1]["_class_name"],
    ),
)
def test_a_published_config_written_again_shapes_the_same_model_of_diffusers(published):
    _, config, stats = PUBLISHED[published]
    written = config_from_spec(read(config).spec, stats)
    assert json.loads(json.dumps(written)) == written
    assert read(written) == read(config)
    before, after = diffusers_model(config), diffusers_model(written)
    assert {k: p.shape for k, p in after.named_parameters()} == {k: p.shape for k, p in before.named_parameters()}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SMALL)
def test_a_random_config_has_as_many_parameters_as_the_model_of_diffusers(name, seed):
    config = small(name, seed)
    dropped = ("time_conv", "condition_encoder")  # for several frames, and for masked images
    kept = [p for key, p in diffusers_model(config).named_parameters() if not any(word in key for word in dropped)]
    images = [p[:, :, -1] if p.dim() == 5 else p for p in kept]  # what a first frame meets of a kernel over time
    ours = build(read(config).spec, "meta")
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in images)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", EXPORTED)
def test_what_diffusers_saves_of_a_model_is_read_and_comes_back_key_by_key(name, seed):
    model = diffusers_model(small(name, seed))
    found = read(json.loads(model.to_json_string()))
    written = config_from_spec(found.spec, found.stats)
    assert read(written)[:2] == found[:2]
    if written["_class_name"] == name:  # or an earlier class of CLASSES that expresses the same network
        assert shaping(diffusers_model(written), name) == shaping(model, name)
