"""Recipes: faults with their places, settings, round trips, and what makes two of them the same."""

import pytest
from support.training import RECIPE, recipe_of, tiny_recipe, write_recipe

from vaezoo.errors import FileError, SpecError, UnknownNameError
from vaezoo.specs.catalog import data_dir, files
from vaezoo.specs.overrides import parse_settings
from vaezoo.specs.parse import parse_yaml
from vaezoo.training.recipes import check_recipe, check_resumable, read_recipe, recipe_text

FAULTS = [
    ("steps: 6", "stepz: 6", "recipe.yaml:2:1: stepz: unknown key 'stepz' for Recipe; did you mean 'steps'?"),
    ("steps: 6", "seed: 6", "recipe.yaml:1:1: missing steps for Recipe"),
    ("steps: 6", "steps: 0", "recipe.yaml:2:8: steps: expected 1 to 1,000,000,000, got 0"),
    ("batch_size: 2", "batch_size: two", "recipe.yaml:3:13: batch_size: expected an integer, got 'two'"),
    ("sizes: [8, 16]", "sizes: []", "recipe.yaml:4:29: data.sizes: expected at least 1 item, got 0"),
    ("scale: [1, 2]", "scale: [2, 1]", "recipe.yaml:4:45: data.scale: expected two numbers, from and to"),
    (
        "scale: [1, 2]",
        "dataset: foo",
        "recipe.yaml:4:47: data.dataset: expected hfds/, torch/, hfids/, tfds/, wds/",
    ),
    ("scale: [1, 2]", "bad: keep", "recipe.yaml:4:43: data.bad: expected 'skip' or 'refuse', got 'keep'"),
    ("kind: l1", "kind: l3", "recipe.yaml:6:12: losses[0].kind: unknown kind 'l3'; known: l1, mse"),
    ("kind: l1, weight: 1", "kind: l1", "recipe.yaml:6:5: losses[0]: missing weight for L1"),
    ("kind: l1, weight: 1", "kind: l1, weight: 1, eps: 2", "recipe.yaml:6:27: losses[0].eps: unknown key 'eps' for L1"),
    ("kind: l1, weight: 1", "kind: charbonnier, weight: 1", "losses[0]: missing eps for Charbonnier"),
    ("kind: l1, weight: 1", "kind: l1, weight: -1", "losses[0].weight: expected 0.0 to 1,000,000,000.0, got -1.0"),
    ("kind: patchgan", "kind: patchgun", "recipe.yaml:8:23: discriminator.kind: unknown kind 'patchgun'; did you mean"),
    ("weight: 0.1, start", "strat", "recipe.yaml:8:65: discriminator.strat: unknown key 'strat' for PatchGAN; did you"),
    ("weight: 0.1, ", "", "discriminator: missing weight for PatchGAN"),
    (
        "name: adamw, lr: 1e-2",
        "name: adamv, lr: 1e-2",
        "recipe.yaml:9:19: optimizer.name: unknown name 'adamv'; did you",
    ),
    (
        "steps: 6",
        "steps: 6\npretrained: true\nstart: resampler",
        "recipe.yaml:4:8: start: the recipe starts by pretrained; leave one of them out",
    ),
    ("steps: 6", "steps: 6\nstart: zero", "recipe.yaml:3:8: start: expected 'random' or 'resampler', got 'zero'"),
    ("schedule: {warmup: 2}", "overrides: 3", "recipe.yaml:10:12: overrides: expected a mapping, got 3"),
    ("schedule: {warmup: 2}", "train: 3", "train: expected 'all', 'encoder' or 'decoder' or a list"),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), FAULTS, ids=[fault[1][:30] for fault in FAULTS])
def test_a_fault_names_its_place_and_the_remedy(right, wrong, expected):
    assert right in RECIPE
    with pytest.raises(SpecError) as caught:
        recipe_of(RECIPE.replace(right, wrong, 1))
    assert expected in str(caught.value)


def test_all_faults_come_in_one_message():
    with pytest.raises(SpecError) as caught:
        recipe_of(RECIPE.replace("steps: 6", "steps: none").replace("lr: 1e-2", "lr: fast").replace("l1", "l3"))
    assert len(str(caught.value).splitlines()) == 3


def test_a_recipe_that_is_no_mapping_is_refused():
    with pytest.raises(SpecError, match=r"recipe.yaml:1:1: expected a mapping of"):
        recipe_of("[1, 2]")


def test_settings_go_through_the_same_checker(tmp_path):
    path = write_recipe(tmp_path)
    with pytest.raises(SpecError, match=r"--set optimizer.lr: optimizer.lr: expected a number, got 'fast'"):
        read_recipe(path, parse_settings(["optimizer.lr=fast"]))
    with pytest.raises(
        SpecError, match=r"--set data.rot: data.rot: unknown key 'rot' for DataConfig; did you mean 'root'"
    ):
        read_recipe(path, parse_settings(["data.rot=here"]))
    with pytest.raises(SpecError, match=r"--set losses.7.weight: '7' is not an index from 0 to 1"):
        read_recipe(path, parse_settings(["losses.7.weight=1"]))
    with pytest.raises(SpecError, match=r"--set steps.many leads into a value that has no keys"):
        read_recipe(path, parse_settings(["steps.many=1"]))


def test_settings_are_for_one_reading_alone(tmp_path):
    path = write_recipe(tmp_path)
    before = read_recipe(path)
    read_recipe(path, parse_settings(["losses.0.weight=7", "optimizer.lr=1", "seed=3"]))
    assert read_recipe(path) == before


def test_settings_reach_lists_absent_mappings_and_overrides(tmp_path):
    recipe = tiny_recipe(tmp_path, "losses.1.weight=0.5", "overrides.latent.channels=3", "discriminator=null")
    assert recipe.losses[1].weight == 0.5
    assert recipe.overrides == {"latent.channels": 3}
    assert recipe.discriminator is None
    without = parse_yaml(RECIPE.replace("ema: {decay: 0.9}\n", ""), "recipe.yaml")
    assert check_recipe(without).ema.decay == 0.999


def test_a_recipe_written_out_reads_back_as_the_same(tmp_path):
    recipe = tiny_recipe(tmp_path, 'summary="1e6"', "train=[decoder.*]", "overrides.encoder.*.layers=1")
    text = recipe_text(recipe)
    assert recipe_of(text) == recipe
    assert recipe_of(text).hash == recipe.hash


def test_the_hash_is_of_what_the_weights_depend_on(tmp_path):
    recipe = tiny_recipe(tmp_path)
    assert tiny_recipe(tmp_path, "keep=7", "summary=Other words.", "log_every=9").hash == recipe.hash
    assert recipe.hash is recipe.hash
    assert tiny_recipe(tmp_path, "optimizer.lr=3e-3").hash != recipe.hash
    assert tiny_recipe(tmp_path, "discriminator.start=3").hash != recipe.hash


def test_only_another_recipe_for_the_weights_cannot_resume(tmp_path):
    recipe = tiny_recipe(tmp_path)
    check_resumable(recipe, tiny_recipe(tmp_path, "steps=9", "keep=7", "checkpoint_every=5"), "run")
    with pytest.raises(
        SpecError, match=r"run: cannot be resumed .*\(losses.0.weight was 1.0, is 2.0; seed was 0, is 1\)"
    ):
        check_resumable(recipe, tiny_recipe(tmp_path, "losses.0.weight=2", "seed=1"), "run")


@pytest.mark.parametrize("name", files("train"))
def test_every_recipe_of_the_package_is_right_and_says_what_it_is(name):
    recipe = read_recipe(name)
    assert recipe.summary.endswith(".")
    assert read_recipe(data_dir("configs") / "train" / files("train")[name].name) == recipe


def test_an_unknown_recipe_is_told_with_near_names():
    with pytest.raises(UnknownNameError, match="unknown recipe 'quikstart'; did you mean 'quickstart'"):
        read_recipe("quikstart")
    with pytest.raises(FileError, match=r"missing.yaml: cannot be read"):
        read_recipe("missing.yaml")
