"""Measure encoding of a data set beside two common ways: `python scripts/benchmark_encode.py PHOTOS`.

Writes `docs/results/encode.csv`. All ways run the same network with the same random weights on the same photos, each in
a process of its own; loading libraries and making the network does not count:

- `plain`: a loop over the files that decodes a photo, encodes it with diffusers' AutoencoderKL, and saves a sample of
  the posterior by `torch.save`
- `lightningdit`: the steps of hustvl/LightningDiT@2725fed42a14898744433809949834e26957bcdd `extract_features.py`: two
  data loaders, the second one of mirrored photos, batches of 20 in float32, samples collected and saved as safetensors,
  then statistics of at most 10,000 of them
- `vaezoo` and `vaezoo, flip`: `vaezoo.encode_dataset`, with default settings
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from csv_rows import write_rows
from diffusers import AutoencoderKL
from PIL import Image, ImageOps
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_tensor

import vaezoo
from vaezoo.data.photos import photos
from vaezoo.evaluation.results import hardware
from vaezoo.inference.process_memory import keep_freed_memory
from vaezoo.io.temporary import scratch_folder

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "encode.csv"
WAYS = ("plain", "lightningdit", "vaezoo", "vaezoo, flip")
BASES = {"vaezoo": "plain", "vaezoo, flip": "lightningdit"}  # with what each is compared
LIGHTNINGDIT_BATCH, LIGHTNINGDIT_FILE, LIGHTNINGDIT_STATISTICS = 20, 10_000, 10_000


def cropped(path: Path, size: int, mirrored: bool = False) -> torch.Tensor:
    """Decode a photo, halve it by boxes while it is large, resize the rest bicubically, and crop the center."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    while min(picture.size) >= 2 * size:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = size / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    picture = ImageOps.fit(picture, (size, size), Image.Resampling.NEAREST)
    return to_tensor(ImageOps.mirror(picture) if mirrored else picture) * 2 - 1


class Crops(Dataset[tuple[torch.Tensor, int]]):
    """Photos as tensors of shape (3, size, size) in [-1, 1], with a label."""

    def __init__(self, paths: Sequence[Path], size: int, mirrored: bool) -> None:
        self.paths, self.size, self.mirrored = paths, size, mirrored

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return cropped(self.paths[index], self.size, self.mirrored), 0


def plain(model: AutoencoderKL, paths: Sequence[Path], out: Path, size: int) -> None:
    """Encode photo by photo, and save one sample for each."""
    for number, path in enumerate(paths):
        with torch.no_grad():
            latent = model.encode(cropped(path, size)[None].to(model.device)).latent_dist.sample()
        torch.save(latent.cpu(), out / f"{number}.pt")


def lightningdit(model: AutoencoderKL, paths: Sequence[Path], out: Path, size: int, workers: int) -> None:
    """Encode batches of photos and of their mirror images, save samples, and compute statistics."""
    settings: dict[str, Any] = {"batch_size": LIGHTNINGDIT_BATCH, "num_workers": workers}
    settings["pin_memory"] = model.device.type == "cuda"
    loaders = [DataLoader(Crops(paths, size, mirrored), **settings) for mirrored in (False, True)]
    found: list[list[torch.Tensor]] = [[], [], []]
    files = 0
    for upright, mirrored in zip(*loaders, strict=True):
        for each, kept in ((upright, found[0]), (mirrored, found[1])):
            with torch.no_grad():
                kept.append(model.encode(each[0].to(model.device)).latent_dist.sample().cpu())
        found[2].append(upright[1])
        if len(found[0]) == LIGHTNINGDIT_FILE // LIGHTNINGDIT_BATCH:
            _save(found, out, files)
            found, files = [[], [], []], files + 1
    if found[0]:
        _save(found, out, files)
    rows = []
    for path in sorted(out.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            latents = file.get_slice("latents")
            rows += [latents[row : row + 1] for row in range(latents.get_shape()[0])]
    all_rows = torch.cat(rows[:LIGHTNINGDIT_STATISTICS])
    torch.save({"mean": all_rows.mean(dim=(0, 2, 3)), "std": all_rows.std(dim=(0, 2, 3))}, out / "latents_stats.pt")


def _save(found: list[list[torch.Tensor]], out: Path, number: int) -> None:
    names = ("latents", "latents_flip", "labels")
    tensors = {name: torch.cat(parts).contiguous() for name, parts in zip(names, found, strict=True)}
    save_file(tensors, out / f"latents_rank00_shard{number:03d}.safetensors")


def models(network: str, device: str) -> tuple[vaezoo.VAE, AutoencoderKL]:
    """Create the network with random weights of a fixed seed, for vaezoo and for diffusers."""
    torch.manual_seed(0)
    vae = vaezoo.create(network, device=device)
    vae.latent_stats = vaezoo.LatentStats(scale=0.18215)
    with scratch_folder() as folder:
        vaezoo.save(vae, folder / "model", with_diffusers=True)
        theirs = (
            AutoencoderKL.from_pretrained(folder / "model", subfolder="vae", low_cpu_mem_usage=False).to(device).eval()
        )
    return vae, theirs


def measure(way: str, options: argparse.Namespace) -> float:
    """Encode all photos once in this process, and return the seconds that it took."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True  # as LightningDiT
    vae, theirs = models(options.network, options.device)
    with scratch_folder() as folder:
        paths, out = _photos(options.photos, folder / "photos", options.count), folder / "out"
        out.mkdir()
        before = time.perf_counter()
        if way == "plain":
            plain(theirs, paths, out, options.size)
        elif way == "lightningdit":
            lightningdit(theirs, paths, out, options.size, options.workers)
        else:
            keep_freed_memory()  # as vaezoo encode does
            settings = {"size": options.size, "workers": options.workers, "device": options.device}
            vaezoo.encode_dataset(vae, folder / "photos", out, flip=way == "vaezoo, flip", **settings)
        return time.perf_counter() - before


def measure_all(options: argparse.Namespace) -> list[dict[str, object]]:
    """Measure all ways in turn, each in a process of its own, and return a row for each."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.repeats):
        for way in WAYS:
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            seconds[way].append(float(done.stdout))
            print(f"{way}: {options.count / seconds[way][-1]:.2f} photos/s", flush=True)
    return [_row(way, statistics.median(times), seconds, options.count, options) for way, times in seconds.items()]


def _photos(source: Path, folder: Path, count: int) -> list[Path]:
    """Make a folder of links to photos, each of them several times if there are too few."""
    folder.mkdir()
    found = [photo.location for photo in photos(source)]
    for number in range(count):
        path = Path(found[number % len(found)]).resolve()
        (folder / f"{number:06d}{path.suffix}").symlink_to(path)
    return sorted(folder.iterdir())


def _row(
    way: str, median: float, seconds: dict[str, list[float]], count: int, options: argparse.Namespace
) -> dict[str, object]:
    base = BASES.get(way)
    return {
        "way": way,
        "network": options.network,
        "size": options.size,
        "photos": count,
        "repeats": options.repeats,
        "device": options.device,
        "threads": torch.get_num_threads(),
        "workers": 0 if way == "plain" else options.workers,
        "seconds": f"{median:.2f}",
        "photos_per_second": f"{count / median:.3f}",
        "compared_with": base or "",
        "ratio": f"{statistics.median(seconds[base]) / median:.2f}" if base else "",
        "vaezoo": vaezoo.__version__,
        "torch": torch.__version__.partition("+")[0],
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "hardware": hardware(torch.device(options.device)),
    }


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("--network", default="ldm_f8_z4", help="(default: that of Stable Diffusion)")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--count", type=int, default=200, help="number of photos, some several times if need be")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="processes that decode photos")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--way", choices=WAYS, help="measure one way, and print its seconds")
    options = parser.parse_args()
    if options.way:
        print(measure(options.way, options))
        return
    rows = measure_all(options)
    write_rows(options.out, rows)


if __name__ == "__main__":
    main()
