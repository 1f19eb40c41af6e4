"""Small data sets and encodings of them."""

import functools
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vaezoo
from vaezoo.latents.shard_files import DATASET, PLANNED_PHOTOS, SHARDS, modes, open_shard, read_shard

MODEL = "vae_f8_z4_micro"


def write_noise(folder: Path, count: int, size: tuple[int, int] = (24, 20), suffix: str = ".png") -> Path:
    """Write photos of noise, `00.png` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        noise(index, size).save(folder / f"{index:02d}{suffix}")
    return folder


def noise(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@functools.cache
def smallest() -> vaezoo.VAE:
    """The smallest model with weights, which all tests share."""
    return vaezoo.create(MODEL, pretrained=True)


def encode(data, out, model=None, **options):
    """Encode with the smallest model at 16 pixels, shards of 4 photos and batches of 2, in this process."""
    defaults = {"size": 16, "shard_size": 4, "batch": 2, "workers": 0, "compute": "fp32", "device": "cpu"}
    return vaezoo.encode_dataset(smallest() if model is None else model, data, out, **{**defaults, **options})


def shard_bytes(folder: Path) -> dict[str, bytes]:
    """The bytes of every shard and manifest."""
    return {path.name: path.read_bytes() for path in sorted((folder / SHARDS).iterdir())}


def rows_of(folder: Path, kind: str = "moments") -> dict[str, torch.Tensor]:
    """The stored latents of each key."""
    found = {}
    for shard in dataset_of(folder)["shards"]:
        _, lines = read_shard(folder, shard["name"])
        tensor = open_shard(folder, shard["name"]).get_tensor(kind)
        found |= {line.key: tensor[line.row] for line in lines if line.row is not None}
    return found


def all_modes(folder: Path) -> list[torch.Tensor]:
    """The modes of every shard in float64."""
    shards = [open_shard(folder, shard["name"]) for shard in dataset_of(folder)["shards"]]
    return [modes({name: shard.get_tensor(name) for name in (*shard.keys(),)}).double() for shard in shards]


def dataset_of(folder: Path) -> dict:
    return json.loads((folder / DATASET).read_text())


def planned(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / PLANNED_PHOTOS).read_text().splitlines()]


def add_to_tar(path: Path, files: dict[str, bytes], mtime: float = 7) -> Path:
    """Write files to a new .tar file."""
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), mtime
            tar.addfile(member, io.BytesIO(data))
    return path
