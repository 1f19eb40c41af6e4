"""Encode on a Ray cluster with kills: `python -m support.encode_kills SHARED FOLDER PHOTOS` prints what it took."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from support.encoding import all_modes, dataset_of
from support.kills import content
from support.ray_head import PATHS, ray_head
from vaezoo.io.python_command import python_command

SIDE, KILLS = 64, 3
ENCODE = ("encode", "vae_f8_z4_micro", f"--size={SIDE}", "--dtype=fp32", "--workers=0", "--device=cpu")


def make_photos(shared: Path, folder: Path, count: int) -> Path:
    """Cut so many different squares out of the shared photos."""
    folder.mkdir(parents=True)
    sources = sorted((shared / "photos" / "train").iterdir())
    draw = random.Random(0)
    for index in range(count):
        with Image.open(sources[index % len(sources)]) as source:
            left, top = (draw.randrange(length - SIDE) for length in source.size)
            source.convert("RGB").crop((left, top, left + SIDE, top + SIDE)).save(folder / f"{index:05d}.png")
    return folder


def encode(photos: Path, out: Path, shard_size: int, *engine: str) -> subprocess.Popen[str]:
    """Start `vaezoo encode`."""
    command = [*python_command("vaezoo.cli"), *ENCODE, f"--shard-size={shard_size}", "--data", photos, "--out", out]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*command, *engine], env=os.environ | PATHS, **pipes)


def finish(started: subprocess.Popen[str]) -> str:
    """Wait for a command that ends well, and return what it said."""
    said = started.communicate()[0]
    assert started.returncode == 0, said
    return said


def done(out: Path) -> int:
    """Return the number of finished shards."""
    return len(list(out.glob("shards/0*.safetensors")))


def encode_with_kills(photos: Path, out: Path, shard_size: int, address: str) -> list[int]:
    """Encode on a cluster, with SIGKILL at random moments; return how many shards were done after each kill."""
    draw, after = random.Random(1), []
    for _ in range(KILLS):
        driver, before = encode(photos, out, shard_size, "--engine=ray", f"--address={address}"), done(out)
        while done(out) == before and driver.poll() is None:
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 1))
        assert driver.poll() is None, driver.communicate()[0]
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        after.append(done(out))
    finish(encode(photos, out, shard_size, "--engine=ray", f"--address={address}"))
    return after


def largest_error(out: Path) -> float:
    """Return how far the statistics of a folder are from those of all latents at once."""
    stats, latents = dataset_of(out)["latent_stats"], torch.cat(all_modes(out))
    mean, std = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3), unbiased=False)
    errors = [
        mean - torch.tensor(stats["mean"], dtype=torch.float64),
        std - torch.tensor(stats["std"], dtype=torch.float64),
    ]
    return max(float(error.abs().max()) for error in errors)


def compare(shared: Path, folder: Path, count: int, shard_size: int, address: str) -> tuple[list[int], float]:
    """Encode once without interruption on this machine and once with kills on a cluster, and compare the folders.

    Returns:
        The numbers of shards that were done after each kill, and the largest error of the statistics.
    """
    photos = make_photos(shared, folder / "photos", count)
    finish(encode(photos, folder / "whole", shard_size))
    after = encode_with_kills(photos, folder / "killed", shard_size, address)
    whole, killed = (shards_and_plan(folder / name) for name in ("whole", "killed"))
    assert len(whole) == 2 * -(-count // shard_size) + 3
    assert whole == killed
    return after, largest_error(folder / "killed")


def shards_and_plan(out: Path) -> dict[str, bytes]:
    """Return the files of a folder of latents except locks and outputs."""
    return {name: data for name, data in content(out).items() if name.split("/")[0] not in ("locks", "logs")}


def main(arguments: Sequence[str]) -> None:
    """Compare folders of as many photos as asked."""
    with ray_head() as address:
        started = time.monotonic()
        after, error = compare(Path(arguments[0]), Path(arguments[1]), int(arguments[2]), 64, address)
    print(f"killed after {after} shards; the statistics differ by {error:.2e}; {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
