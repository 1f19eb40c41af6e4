"""`encode_dataset`: encode the photos of a source into a folder of latents."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaezoo.data.photos import Photo, photos
from vaezoo.distributed import local_device
from vaezoo.errors import ImageError, InputError
from vaezoo.io.files import make_folder
from vaezoo.io.folder_lock import file_lock
from vaezoo.io.temporary import sweep
from vaezoo.jobs.job_engine import Engine
from vaezoo.latents.dataset_json import DatasetFacts, read_facts, write_dataset
from vaezoo.latents.encode_jobs import run_shard_jobs
from vaezoo.latents.encode_plan import PlannedPhoto, is_done, read_photos, shards_of, write_photos
from vaezoo.latents.encode_settings import LOCKS, absolute_source, agree, checked_settings, model_identity
from vaezoo.latents.planner import PlanChanges, Planner, Track
from vaezoo.latents.shard_encoder import EncodeMeter, OnBatch, ShardEncoder, WorkOptions
from vaezoo.latents.shard_files import SHARDS
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.specs.stats import LatentStats
from vaezoo.weights.known_names import check_known
from vaezoo.zoo.create import create, usable_device


@dataclass(frozen=True)
class EncodeSummary:
    """What `encode_dataset` did, and what the folder holds now.

    Args:
        folder: Folder of the latents.
        shards: Number of shards.
        made: Number of shards that were missing or stale when the call began, all of which are done now.
        added: Keys of photos that were new.
        changed: Keys of photos that had changed since they were encoded.
        facts: What the shards hold: counts, bad photos with reasons, photos that are gone, statistics.
        photos: Number of photos that this process encoded, good and bad; 0 if jobs did.
        seconds: Seconds that it took.
        waiting_share: Share of the time in which the model waited for photos.
    """

    folder: Path
    shards: int
    made: int
    added: Sequence[str]
    changed: Sequence[str]
    facts: DatasetFacts
    photos: int
    seconds: float
    waiting_share: float

    @property
    def latent_stats(self) -> LatentStats | None:
        """Statistics of all latents, as `VAE.latent_stats` takes them; `None` if they cannot be computed."""
        return self.facts.latent_stats

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain data, without the list of shards."""
        facts = {name: value for name, value in self.facts.to_dict().items() if name != "shards"}
        own = {name: getattr(self, name) for name in ("shards", "made", "photos", "seconds", "waiting_share")}
        return {"folder": str(self.folder), **own, "added": len(self.added), "changed": list(self.changed), **facts}


def encode_dataset(
    model: str | VAE,
    data: str | Path | None,
    out: str | Path,
    *,
    split: str | None = None,
    root: str | Path | None = None,
    resize: str = "center",
    size: int | None = None,
    flip: bool = False,
    captions: bool = False,
    labels: bool = False,
    dtype: str = "bf16",
    compute: str = "auto",
    shard_size: int = 512,
    batch: int | None = None,
    workers: int | None = None,
    device: str | None = None,
    bad: str = "skip",
    verify: bool = False,
    jobs: int | None = None,
    engine: str = "local",
    address: str | None = None,
    track: Track = lambda items, label: items,
    on_batch: OnBatch = lambda count, meter: None,
    on_start: Callable[[int], object] = lambda count: None,
) -> EncodeSummary:
    """Encode the photos of a source into shards of latents, from which a diffusion model is trained.

    A plan of shards is written first. A shard is encoded, written under temporary names and renamed into place; done
    means renamed. Another call makes what is missing: shards of a killed call, of new photos, and of photos whose size
    or time of change differ. Photos that are gone are reported and keep their latents. Processes that encode into one
    folder at the same time share the work. docs/latents.md describes the files.

    Args:
        model: Name of a model with weights, or a model. With several jobs or Ray it must be a name. If you changed the
            weights of a model after loading it, set its `source` to `None`: otherwise the folder names those loaded.
        data: Source of the photos, as `vaezoo.data.photos.photos` takes it; `None` means the sample photos.
        out: Folder of the latents; it is created. `~` is the home folder.
        split: Split of a dataset, "validation" by default, or subfolder of a folder.
        root: Folder in which a dataset is stored.
        resize: "center": the central square, resized to `size`. "multiple": each photo at its own size, cropped to
            multiples of `VAE.size_multiple`, with the longer side reduced to `size` if that is given. "buckets": the
            nearest of the aspect ratios of SDXL, scaled from 1024 to `size`. "kohya": likewise, of the buckets that
            sd-scripts computes for the resolution `size`.
        size: Pixels; `None` means 256 for "center", any for "multiple" and 1024 for "buckets" and "kohya".
        flip: Whether to encode the mirrored photos, too.
        captions: Whether to store captions: of the .txt or .json file beside a photo, or of a column of a Parquet file.
        labels: Whether to store labels: of the .cls file beside a photo, a column, or else the first subfolder.
        dtype: Dtype in which latents are stored: "bf16", "fp16" or "fp32".
        compute: Dtype in which the model runs, as `vaezoo.optimize` takes it.
        shard_size: Most photos of a shard.
        batch: Photos of a batch; `None` means 16 of 256 x 256 pixels, fewer of larger ones and more of smaller ones.
            Another number may change the last digit of a latent.
        workers: Processes that decode photos, for each job; `None` chooses by the number of processors, and 0 decodes
            in the calling process.
        device: Device to encode on; `None` means a GPU if there is one, otherwise the CPU.
        bad: What to do with a photo that cannot be read or encoded: "skip" and list it, or "refuse" it with an error,
            also if an earlier call has skipped it.
        verify: Whether to compare the SHA-256 of photos whose size and time of change are as before.
        jobs: Processes that encode; with several GPUs each gets one. `None` means this process, or with Ray as many as
            the cluster has room for.
        engine: "local" for processes of this machine, or "ray" for tasks of a Ray cluster, whose machines must see
            the same files (docs/scaling.md).
        address: Ray cluster as `HOST:PORT`; `None` means that of this machine, and starts one if it has none.
        track: Function that iterates over photos while they are listed, for example to show progress.
        on_batch: Called after each batch with its number of photos and an `EncodeMeter`; with jobs, after each of them.
        on_start: Called with the number of photos that will be encoded.

    Returns:
        What was done, and what the folder holds.

    Raises:
        InputError: If an argument is not valid, two photos have the same key, the folder was encoded with another
            model or other settings, or the Ray cluster cannot be used.
        FileError: If the source cannot be read, or the folder cannot be written or holds something else.
        ImageError: If a photo is damaged and bad ones are refused.
        TrainingError: If a job failed, or a process that decodes photos was killed.

    Examples:
        >>> import vaezoo
        >>> summary = vaezoo.encode_dataset("vae_f8_z4_micro", None, "latents", size=64)
        >>> summary.facts.count, summary.facts.buckets, len(summary.latent_stats.mean)
        (4, {'64x64': 4}, 4)
    """
    work, runner = WorkOptions(batch, workers, bad), Engine(engine, jobs, address)
    runner.check_device(device)
    in_jobs = engine != "local" or (jobs or 1) > 1
    _check_name(model, in_jobs)
    found = photos(absolute_source(data), split, root)  # before a model is loaded and a folder made
    vae = _loaded(model, "cpu" if engine == "ray" else device)
    settings = checked_settings(
        vae.size_multiple,
        data=data,
        split=split,
        root=root,
        resize=resize,
        size=size,
        flip=flip,
        captions=captions,
        labels=labels,
        dtype=dtype,
        compute=compute,
        shard_size=shard_size,
    )
    folder = make_folder(os.path.expanduser(out))
    about, plan, changes = _make_plan(
        Planner(folder, settings, vae.size_multiple, bad, track), model_identity(vae), found, verify
    )
    shards = shards_of(plan)
    missing = {name: planned for name, planned in shards.items() if not is_done(folder, name, planned)}
    on_start(sum(map(len, missing.values())))
    meter = EncodeMeter()
    if missing and in_jobs:
        run_shard_jobs(folder, missing, work, runner, device, on_batch, meter)
    elif missing:
        encoder = ShardEncoder(folder, settings, vae, about["model"]["pack"], work, on_batch)
        encoder.encode(missing)
        meter = encoder.meter
    facts = _finish(folder, about, plan, bad)
    counted = len(shards), len(missing), changes.added, changes.changed
    return EncodeSummary(folder, *counted, facts, meter.photos, meter.seconds, meter.waiting_share)


def _check_name(model: str | VAE, in_jobs: bool) -> None:
    """Refuse an unknown name, and jobs for a model that is not given by name, before photos are listed."""
    if isinstance(model, str):
        check_known(model)
    elif in_jobs:
        raise InputError("jobs encode in processes of their own, which need a model by name; pass its name")


def _loaded(model: str | VAE, device: str | None) -> VAE:
    """The model of a name, on a device that this process can use; or the one given, on the device where it is."""
    if not isinstance(model, str):
        return unwrapped(model)
    return create(model, pretrained=True, device=str(usable_device(local_device(device))))


def _finish(folder: Path, about: dict[str, Any], plan: Sequence[PlannedPhoto], bad: str) -> DatasetFacts:
    """Write `dataset.json` from the shards, and refuse bad photos if `bad` is "refuse"."""
    facts = read_facts(folder, plan)
    write_dataset(folder, about, facts)
    if bad == "refuse":
        _refuse_bad(facts)
    return facts


def _refuse_bad(facts: DatasetFacts) -> None:
    """Refuse photos that an earlier call has passed over, and that the source still has."""
    reasons = [each["reason"] for each in facts.bad if each["key"] not in facts.gone]
    if reasons:
        more = f" (and {len(reasons) - 1:,} more, which dataset.json lists)" if len(reasons) > 1 else ""
        raise ImageError(f"{reasons[0]}{more}")


def _make_plan(
    planner: Planner, model: dict[str, Any], found: Sequence[Photo], verify: bool
) -> tuple[dict[str, Any], list[PlannedPhoto], PlanChanges]:
    """Write the plan of a folder, or bring it up to date, one process at a time; returns `plan.json` and the photos."""
    folder, settings = planner.folder, planner.settings
    for name in (SHARDS, LOCKS):
        make_folder(folder / name)
    with file_lock(folder / LOCKS / "plan.lock", timeout=-1):
        sweep(folder)
        sweep(folder / SHARDS)
        about = agree(folder, settings, model)
        plan, changes = planner.plan(read_photos(folder), found)
        for name in ("caption", "label"):
            if getattr(settings, f"{name}s") and all(getattr(photo, name) is None for photo in plan):
                raise InputError(f"{settings.data}: no photo has a {name}; leave out {name}s, or add them")
        if verify:
            plan = planner.verified(plan, changes)
        write_photos(folder, plan)
        known = shards_of(plan)
        for path in (folder / SHARDS).iterdir():  # those of photos that are in other shards now
            if path.suffix in (".jsonl", ".safetensors") and path.stem not in known and path.name[0] != ".":
                path.unlink(missing_ok=True)
    return about, plan, changes
