"""Small training runs: a recipe, photos, and runs in this process or in subprocesses."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from support.checkout import ROOT
from vaezoo.data.batches import make_dataset, make_loader
from vaezoo.distributed import ProcessGroup
from vaezoo.nn.schema import check_spec
from vaezoo.specs.overrides import parse_settings
from vaezoo.specs.parse import parse_yaml
from vaezoo.training import run as runs
from vaezoo.training.checkpoint import checkpoints, step_of
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.recipes import check_recipe, read_recipe
from vaezoo.training.run import Report
from vaezoo.training.start import crop_sampler

CPU = ProcessGroup()
NETWORK = """
image: {channels: 3}
latent: {kind: gaussian, channels: 2}
shared: {norm: group, groups: 4, eps: 1.0e-5, act: silu, skip: conv}
encoder:
  - {block: conv, out: 8, kernel: 3}
  - {block: down, out: 8, layers: 1, resample: conv_4x4}
  - {block: head, out: moments, kernel: 3}
decoder:
  - {block: conv, out: 8, kernel: 3}
  - {block: up, out: 8, layers: 1, resample: conv_transpose_4x4}
  - {block: head, out: image, kernel: 3}
"""
RECIPE = """\
network: NETWORK
steps: 6
batch_size: 2
data: {root: PHOTOS, sizes: [8, 16], scale: [1, 2]}
losses:
  - {kind: l1, weight: 1}
  - {kind: kl, weight: 1e-6}
discriminator: {kind: patchgan, width: 4, layers: 1, groups: 2, weight: 0.1, start: 2, optimizer: OPTIMIZER}
optimizer: {name: adamw, lr: 1e-2, betas: [0.9, 0.99], weight_decay: 0.01}
schedule: {warmup: 2}
ema: {decay: 0.9}
validation: {size: 32}
checkpoint_every: 2
log_every: 1
""".replace("OPTIMIZER", "{name: lion, lr: 1e-3}")


def tiny_spec():
    """Return a network with a few thousand parameters and downscale 2."""
    return check_spec(parse_yaml(NETWORK, "tiny.yaml"), "tiny")


def write_photos(folder: Path, count: int = 5, side: int = 40) -> Path:
    """Write pictures of noise over a color; the same pictures on every call."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for index in range(count):
        base = draw.integers(40, 200, 3)
        pixels = (base + draw.integers(-40, 40, (side, side + index, 3))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def write_recipe(folder: Path) -> Path:
    """Write a recipe that trains the tiny network on such photos, all in one folder."""
    (folder / "tiny.yaml").write_text(NETWORK, encoding="utf-8")
    photos = write_photos(folder / "photos")
    text = RECIPE.replace("NETWORK", str(folder / "tiny.yaml")).replace("PHOTOS", str(photos))
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def tiny_recipe(folder: Path, *settings: str) -> Recipe:
    """Read that recipe with settings such as "steps=3"."""
    return read_recipe(write_recipe(folder), parse_settings(settings))


def loader_of(recipe: Recipe) -> DataLoader:
    """The batches of a recipe in one process, from the first step."""
    sampler = crop_sampler(recipe)
    return make_loader(make_dataset(sampler), sampler)


def recipe_of(text: str) -> Recipe:
    """Return a recipe from its text."""
    return check_recipe(parse_yaml(text, "recipe.yaml"))


def command(*arguments: object, ranks: int = 1) -> list[str]:
    """Return the command line of `vaezoo train`, under torchrun for several ranks."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    return [sys.executable, *launcher, "-m", "vaezoo.cli", "train", *map(str, arguments)]


def environment() -> dict[str, str]:
    """Return the environment of such a command; one thread each, because several processes share the cores."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def train(*arguments: object, ranks: int = 1) -> str:
    """Run `vaezoo train` to its end and return its output."""
    done = subprocess.run(command(*arguments, ranks=ranks), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def quiet(recipe: Recipe, folder: Path, resume: bool = False) -> Report:
    """Train in this process without printing anything."""
    return runs.train(recipe, folder, CPU, resume, on_message=lambda text: None)


def steps_of(run: Path) -> list[int]:
    """Return the steps at which a run has checkpoints."""
    return [step_of(path) for path in checkpoints(run)]


def tensors_of(run: Path, step: int) -> dict[str, torch.Tensor]:
    """Return all tensors of a checkpoint."""
    return load_file(run / "checkpoints" / f"step_{step:09d}.safetensors")


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Compare tensors bit by bit."""
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different
