"""The examples in docstrings run as written, and every main entry point has one."""

import doctest
import importlib
import pkgutil

import pytest
import torch
from support.checkout import ROOT

import vaezoo

REQUIRED = (
    "vaezoo:VAE.encode",
    "vaezoo:BucketBatchSampler",
    "vaezoo:LatentDataset",
    "vaezoo:as_diffusers",
    "vaezoo:create",
    "vaezoo:push_to_hub",
    "vaezoo:save",
    "vaezoo:describe",
    "vaezoo:recognize",
    "vaezoo.training.run:train",
    "vaezoo.evaluation.protocol:evaluate",
    "vaezoo:VAE.decode",
    "vaezoo:VAE.normalize",
    "vaezoo:load_image",
    "vaezoo:to_tensor",
)
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "vaezoo").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


# these train, encode or publish, which tests of their own do by default
LONG = [
    f"vaezoo.{name}"
    for name in (
        *("training.run", "sharing.publish", "evaluation.protocol", "inference.optimize", "inference.stream"),
        *("latents.encode", "latents.latent_dataset"),
    )
]
assert set(LONG) < set(MODULES)


@pytest.mark.parametrize(
    "module", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in MODULES]
)
def test_the_examples_of_a_module_run_as_written(module, hub, tmp_path, monkeypatch, capsys):
    """Each example starts without any names, in a folder with a photo, on a Hub where its user is alice."""
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for number, test in enumerate(doctest.DocTestFinder().find(importlib.import_module(module), module)):
        folder = tmp_path / f"example-{number}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        vaezoo.to_pil(torch.rand(3, 64, 96) * 2 - 1).save("photo.jpg")
        test.globs.clear()
        runner.run(test)
    assert runner.tries > 0
    assert runner.failures == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", REQUIRED)
def test_a_main_entry_point_has_an_example(name):
    examples = (pkgutil.resolve_name(name).__doc__ or "").partition("Examples:")[2]
    assert doctest.DocTestParser().get_examples(examples), f"{name} has no example"
