"""Batches of photos of one bucket, decoded in worker processes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from multiprocessing.util import Finalize
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vaezoo.data.batches import ignore_signals, kill_workers
from vaezoo.data.cache import to_array
from vaezoo.errors import FileError, ImageError
from vaezoo.io.resize_and_pad import resize_box
from vaezoo.latents.buckets import Framing
from vaezoo.latents.encode_plan import GONE, PlannedPhoto
from vaezoo.latents.shard_files import ManifestLine

PREFETCH = 4  # batches that each worker makes in advance


class BatchRequest(NamedTuple):
    """Photos of one shard to decode.

    Args:
        shard: Name of the shard.
        photos: Its photos, or some that follow each other.
        last: Whether these are its last ones.
    """

    shard: str
    photos: Sequence[PlannedPhoto]
    last: bool


class PhotoBatch(NamedTuple):
    """Decoded photos.

    Args:
        request: What was to be decoded.
        pixels: Tensor of shape (B, 3, H, W), uint8, of the photos that are good.
        lines: What the manifest says about each photo, the row of a good one being 0.
    """

    request: BatchRequest
    pixels: Tensor
    lines: list[ManifestLine]


class PhotoBatches(Dataset[PhotoBatch]):
    """Decodes batches; the index of one is its request.

    Args:
        framing: How photos are brought to size.
    """

    def __init__(self, framing: Framing) -> None:
        self.framing = framing

    def __getitem__(self, request: BatchRequest) -> PhotoBatch:
        made = [self._made(photo) for photo in request.photos]
        good = [pixels for pixels, _ in made if pixels is not None]
        stacked = np.stack(good) if good else np.zeros((0, 1, 1, 3), np.uint8)
        return PhotoBatch(request, torch.from_numpy(stacked.transpose(0, 3, 1, 2)), [line for _, line in made])

    def _made(self, photo: PlannedPhoto) -> tuple[np.ndarray | None, ManifestLine]:
        line = ManifestLine(
            key=photo.key,
            row=None,
            source=photo.place.location,
            size=photo.size,
            mtime=photo.mtime,
            label=photo.label,
            caption=photo.caption,
        )
        if photo.gone:
            return None, replace(line, bad=GONE)
        try:
            digest, picture = photo.place.hashed_picture()
            line = replace(line, sha256=digest)
            if isinstance(picture, ImageError):
                raise picture
            frame = self.framing.frame(*picture.size, photo.place.location)
            if frame.bucket != photo.bucket:
                raise ImageError(f"{photo.place.location}: changed while the data set was encoded; encode it again")
        except (ImageError, FileError) as error:
            return None, replace(line, bad=str(error))
        pixels = to_array(resize_box(picture, frame.box, (frame.width, frame.height)))
        return pixels, replace(line, row=0, crop=frame.box, resized=(frame.width, frame.height))


def make_batches(requests: Iterable[BatchRequest], framing: Framing, workers: int, pin: bool) -> DataLoader[PhotoBatch]:
    """Return an iterable over the decoded batches, in order.

    Args:
        requests: What to decode; it is read in advance.
        framing: How photos are brought to size.
        workers: Processes that decode; 0 decodes in this process.
        pin: Whether to copy batches to pinned memory, for GPUs.
    """
    if workers:
        Finalize(None, kill_workers, exitpriority=1)  # runs before Python waits for them
    return DataLoader(
        PhotoBatches(framing),
        batch_size=None,
        sampler=requests,
        num_workers=workers,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=pin,
        worker_init_fn=ignore_signals,
        generator=torch.Generator(),  # otherwise the loader would draw from the global one
    )
