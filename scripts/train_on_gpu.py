"""Train for a limited time on one GPU that is far away from the photos.

`python scripts/train_on_gpu.py pack PHOTOS FOLDER` writes small copies of photos, to carry to that machine.

`python scripts/train_on_gpu.py train RECIPE RUN OUT --minutes 9 --set data.root=FOLDER` trains there: it measures the
time of a step, with `--compile` also under `torch.compile`, and makes as many steps as fit, so that the schedule of the
recipe ends in time. OUT gets the averaged weights in bf16, in files of at most 15 MiB that `vaezoo.create` opens by
their index, and recipe and log.
"""

import argparse
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

import vaezoo
from vaezoo.data.photos import photos
from vaezoo.distributed import ProcessGroup, process_group
from vaezoo.errors import TrainingError, VaezooError
from vaezoo.io.files import make_folder, write_text
from vaezoo.io.tensor_file import write_tensors
from vaezoo.specs.overrides import parse_settings
from vaezoo.training.artifacts import RECIPE
from vaezoo.training.display import Display
from vaezoo.training.log import NAME
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.recipes import read_recipe
from vaezoo.training.run import OnLog, Report, TrainingRun
from vaezoo.training.start import check_folder, start
from vaezoo.weights.config_json import WEIGHTS

MIB = 2**20
LARGEST = 15 * MIB  # bytes of a file of weights


def pack(source: str, folder: str, side: int, quality: int) -> None:
    """Write WebP copies of photos whose shorter side is at most `side` pixels; print their size."""
    out, total = make_folder(folder), 0
    for photo in photos(source):
        picture = photo.read().convert("RGB")
        factor = min(1.0, side / min(picture.size))
        width, height = (round(length * factor) for length in picture.size)
        path = out / f"{Path(photo.name).stem}.webp"
        picture.resize((width, height), Image.Resampling.LANCZOS).save(path, quality=quality, method=6)
        total += path.stat().st_size
    print(f"{out}: {total / MIB:.1f} MiB of photos")


def train(recipe: Recipe, run: Path, out: Path, group: ProcessGroup, options: argparse.Namespace) -> None:
    """Train as many steps as fit into `options.minutes`, and export the averaged weights."""
    end = time.monotonic() + 60 * options.minutes
    check_folder(run, recipe, resume=False)
    seconds = {backend: time_of_step(recipe, group, backend, options.trial) for backend in {None, options.compile}}
    backend = min(seconds, key=lambda key: seconds[key])
    print(", ".join(f"{value:.3f} s per step with {key or 'no compiler'}" for key, value in seconds.items()))
    steps = int((end - time.monotonic() - options.reserve) / seconds[backend])
    if steps < 1:
        raise TrainingError(f"measuring took all of the {options.minutes:g} minutes; raise --minutes or lower --trial")
    recipe = replace(recipe, steps=steps, schedule=replace(recipe.schedule, steps=None))
    display = Display(recipe)

    def on_log(line: dict[str, Any]) -> None:
        display.show(line)
        if time.monotonic() > end - options.reserve:
            os.kill(os.getpid(), signal.SIGTERM)  # the run saves and ends

    report = train_once(recipe, run, group, backend, on_log)
    export(run, out)
    print(f"{report.progress.step} of {recipe.steps} steps, best PSNR {report.progress.best}; weights in {out}")


def time_of_step(recipe: Recipe, group: ProcessGroup, backend: str | None, steps: int) -> float:
    """Return the seconds of a step, from the second half of a short run; infinity if the backend cannot compile it."""
    times: dict[int, float] = {}

    def on_log(line: dict[str, Any]) -> None:
        if "loss" in line:
            times[line["step"]] = time.monotonic()

    steps = max(2, steps)
    short = replace(recipe, steps=steps, log_every=steps // 2, validation=replace(recipe.validation, every=0))
    with tempfile.TemporaryDirectory() as folder:
        try:
            train_once(short, Path(folder) / "trial", group, backend, on_log)
        except TorchDynamoException as error:
            print(f"{backend} cannot compile the network here: {str(error).partition(chr(10))[0]}")
            return math.inf
    first, *_, last = sorted(times)
    return (times[last] - times[first]) / (last - first)


def train_once(recipe: Recipe, run: Path, group: ProcessGroup, backend: str | None, on_log: OnLog) -> Report:
    """Train like `vaezoo.training.run.train`, with halves of the network that are compiled by a backend, if given."""
    state = start(recipe, run, False, group)
    if backend:
        for half in (state.task.vae.encoder, state.task.vae.decoder):
            half.compile(backend=backend, dynamic=False)  # a graph for each crop size
    training = TrainingRun(recipe, run, state, group, on_log)
    training.open()
    return training.train()


def export(run: Path, out: Path) -> None:
    """Write the averaged weights of a run in bf16, in several files and an index, and copy its recipe and log."""
    vae = vaezoo.create(f"local-dir:{run}", pretrained=True)
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in vae.state_dict().items()}
    files = list(split(tensors.items()))
    places, stem = {}, WEIGHTS.removesuffix(".safetensors")
    make_folder(out)
    for number, part in enumerate(files, start=1):
        name = f"{stem}-{number:05d}-of-{len(files):05d}.safetensors"
        write_tensors(part, out / name)
        places |= dict.fromkeys(part, name)
    write_text(out / f"{WEIGHTS}.index.json", json.dumps({"weight_map": places}, indent=1))
    for name in (RECIPE, NAME):
        shutil.copyfile(run / name, out / name)


def split(tensors: Iterable[tuple[str, Tensor]]) -> Iterable[dict[str, Tensor]]:
    """Divide tensors among files of at most 15 MiB, in their order; a larger tensor has a file of its own."""
    part: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if part and size + tensor.nbytes > LARGEST - MIB:  # a header takes less
            yield part
            part, size = {}, 0
        part[name] = tensor
        size += tensor.nbytes
    yield part


def main(arguments: list[str]) -> None:
    """Run `pack` or `train`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("source", help="folder, .tar file or dataset of photos")
    packing.add_argument("folder", help="where to write the copies")
    packing.add_argument("--side", type=int, default=512, help="shorter side in pixels (default: 512)")
    packing.add_argument("--quality", type=int, default=85, help="WebP quality, 1 to 100 (default: 85)")
    training = commands.add_parser("train")
    training.add_argument("recipe", help="recipe of configs/train, or a YAML file")
    training.add_argument("run", type=Path, help="run folder, a new one")
    training.add_argument("out", type=Path, help="folder for the weights to bring back")
    training.add_argument("--minutes", type=float, required=True, help="time for everything")
    training.add_argument("--reserve", type=float, default=30, help="seconds kept for saving (default: 30)")
    training.add_argument("--trial", type=int, default=40, help="steps of the time measurement (default: 40)")
    training.add_argument(
        "--compile",
        nargs="?",
        const="inductor",
        metavar="BACKEND",
        help="use torch.compile if it is faster; its trial takes a minute or more (default backend: inductor)",
    )
    training.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    options = parser.parse_args(arguments)
    if options.command == "pack":
        pack(options.source, options.folder, options.side, options.quality)
        return
    with process_group(None) as group:
        train(read_recipe(options.recipe, parse_settings(options.set)), options.run, options.out, group, options)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except VaezooError as error:
        sys.exit(f"error: {error}")
