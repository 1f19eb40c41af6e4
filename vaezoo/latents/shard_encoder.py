"""Encodes shards: photos are decoded in worker processes, encoded in batches, and written in the background."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.batches import worker_errors
from vaezoo.data.crops import to_images
from vaezoo.errors import ImageError, InputError
from vaezoo.inference.optimize import optimize
from vaezoo.io.folder_lock import file_lock
from vaezoo.latents.encode_plan import GONE, PlannedPhoto, is_done
from vaezoo.latents.encode_settings import LOCKS, EncodeSettings
from vaezoo.latents.photo_batches import BatchRequest, PhotoBatch, make_batches
from vaezoo.latents.shard_files import bucket_of, sides_of
from vaezoo.latents.shard_writer import ShardBuffer, StoredForm
from vaezoo.nn.dtypes import DTYPES
from vaezoo.nn.vae import VAE
from vaezoo.specs.faults import unknown

BAD = ("skip", "refuse")
MOST_WORKERS = 8
BATCH_PIXELS, MOST_IN_BATCH = 16 * 256 * 256, 256
MOST_WAITING = 4  # batches and shards that wait for the writer, so that latents do not pile up in memory
Shards = Mapping[str, Sequence[PlannedPhoto]]


@dataclass
class EncodeMeter:
    """What has been encoded so far.

    Args:
        photos: Number of photos, good and bad.
        waiting: Seconds in which the model waited for photos.
        started: When encoding began, as `time.perf_counter` gives it.
    """

    photos: int = 0
    waiting: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.started

    @property
    def waiting_share(self) -> float:
        """Share of the time in which the model waited for photos."""
        return self.waiting / max(self.seconds, 1e-9)


OnBatch = Callable[[int, EncodeMeter], object]  # called with the number of photos of each batch


@dataclass(frozen=True)
class WorkOptions:
    """How shards are encoded, beside what decides their values.

    Args:
        batch: Photos of a batch; `None` means as many as have the pixels of 16 photos of 256 x 256.
        workers: Processes that decode photos; 0 decodes in this process, and `None` chooses by device and processors.
        bad: What to do with a photo that cannot be encoded: "skip" and list it, or "refuse" it with an error.
        lock: Whether to lock each shard, so that several processes of this machine share the work.

    Raises:
        InputError: If a number is too small, or `bad` is neither of its choices.
    """

    batch: int | None = None
    workers: int | None = None
    bad: str = "skip"
    lock: bool = True

    def __post_init__(self) -> None:
        for name, low in (("batch", 1), ("workers", 0)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise InputError(f"{name} {value}: expected {low} or more")
        if self.bad not in BAD:
            raise InputError(unknown(self.bad, list(BAD), "bad"))


class ShardEncoder:
    """Encodes shards of one folder with one model.

    Args:
        folder: Folder of the latents, with its plan.
        settings: Settings of the folder.
        vae: The model, on the device to use.
        pack: Side of the patches of `LatentStats.pack`, 1 for none.
        options: How to encode.
        on_batch: Called after each batch.
    """

    def __init__(
        self,
        folder: Path,
        settings: EncodeSettings,
        vae: VAE,
        pack: int,
        options: WorkOptions,
        on_batch: OnBatch = lambda count, meter: None,
    ) -> None:
        self.folder, self.options, self.on_batch = folder, options, on_batch
        self.vae = optimize(vae, settings.compute, retry=None if settings.compute == "fp32" else "fp32")
        self.framing = settings.framing(vae.size_multiple)
        gaussian = vae.spec.latent.kind == "gaussian"
        channels = vae.latent_channels * (2 if gaussian else 1)
        dtype, name = DTYPES[settings.dtype], "moments" if gaussian else "mean"
        self.form = StoredForm(name, dtype, channels, vae.downscale, settings.flip, pack)
        self.meter = EncodeMeter()

    def encode(self, shards: Shards) -> None:
        """Encode shards that are not done yet; first those that no other process is encoding, then the others.

        Raises:
            ImageError: If a photo cannot be read and bad ones are refused.
            InputError: If the model computes NaN or infinite values for a photo and bad ones are refused.
            TrainingError: If a process that decodes photos was killed.
            FileError: If a shard cannot be written.
            OutOfMemoryError: If a batch does not fit into memory.
        """
        for name in self._encode(shards, timeout=0):
            self._encode({name: shards[name]}, timeout=-1)  # one by one: nobody waits while holding another lock

    def _encode(self, shards: Shards, timeout: float) -> list[str]:
        """Encode shards, and return the names of those that other processes have locked."""
        held, busy = {name: ExitStack() for name in shards}, []

        def requests() -> Iterator[BatchRequest]:
            for name, photos in shards.items():
                if not self._lock(held[name], name, timeout):
                    busy.append(name)
                elif is_done(self.folder, name, photos):
                    held[name].close()
                else:
                    yield from _requests(name, photos, self.options.batch or usual_batch(name))

        on_gpu, workers = self.vae.device.type == "cuda", self.options.workers
        loader = make_batches(requests(), self.framing, _workers(on_gpu) if workers is None else workers, on_gpu)
        waiting: deque[tuple[str | None, Future[Any]]] = deque()
        with worker_errors("the same call continues"), ExitStack() as locks, ThreadPoolExecutor(1) as writer:
            for stack in held.values():
                locks.enter_context(stack)
            buffers: dict[str, ShardBuffer] = {}
            for batch in self._timed(loader):
                name = batch.request.shard
                if name not in buffers:
                    buffers[name] = ShardBuffer(name, shards[name], self.form, self.options.bad == "refuse")
                waiting.append((None, writer.submit(buffers[name].add, batch.lines, self._computed(batch))))
                if batch.request.last:
                    waiting.append((name, writer.submit(buffers.pop(name).write, self.folder)))
                _settle(waiting, MOST_WAITING, held)
                self.meter.photos += len(batch.lines)
                self.on_batch(len(batch.lines), self.meter)
            _settle(waiting, 0, held)
        return busy

    def _lock(self, stack: ExitStack, name: str, timeout: float) -> bool:
        path = self.folder / LOCKS / f"{name}.lock"
        return not self.options.lock or stack.enter_context(file_lock(path, timeout))

    def _timed(self, batches: Iterable[PhotoBatch]) -> Iterator[PhotoBatch]:
        """The batches, with the time that they let the model wait added to the meter."""
        iterator, before = iter(batches), time.perf_counter()
        while (batch := next(iterator, None)) is not None:
            self.meter.waiting += time.perf_counter() - before
            yield batch
            before = time.perf_counter()

    def _computed(self, batch: PhotoBatch) -> list[Tensor]:
        """The moments of the good photos of a batch, and of their mirror images."""
        refused = [line.bad for line in batch.lines if line.bad is not None and line.bad != GONE]
        if refused and self.options.bad == "refuse":
            raise ImageError(refused[0])
        if not len(batch.pixels):
            return [self.form.empty(bucket_of(batch.request.shard)) for _ in self.form.names]
        images = to_images(batch.pixels, self.vae.device)
        inputs = [images, images.flip(-1)] if self.form.flip else [images]
        with torch.inference_mode():
            return [self.vae.encode(each).moments for each in inputs]


def _workers(on_gpu: bool) -> int:
    """The number of processes that decode: several for a GPU; few for a CPU, which the model needs itself."""
    processors = os.cpu_count() or 1
    return min(MOST_WORKERS, processors) if on_gpu else min(2, processors // 2)


def usual_batch(shard: str) -> int:
    """The number of photos in a batch of a shard: large ones need smaller batches, to fit into memory."""
    width, height = sides_of(bucket_of(shard))
    return max(1, min(MOST_IN_BATCH, BATCH_PIXELS // (width * height)))


def _requests(name: str, photos: Sequence[PlannedPhoto], batch: int) -> Iterator[BatchRequest]:
    for start in range(0, len(photos), batch):
        yield BatchRequest(name, photos[start : start + batch], start + batch >= len(photos))


def _settle(waiting: deque[tuple[str | None, Future[Any]]], most: int, held: Mapping[str, ExitStack]) -> None:
    """Wait for the oldest pieces of work until no more than `most` are left, and unlock the shards that are written."""
    while len(waiting) > most:
        name, future = waiting.popleft()
        future.result()
        if name is not None:
            held[name].close()
