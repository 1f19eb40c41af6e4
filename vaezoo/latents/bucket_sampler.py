"""`BucketBatchSampler`: batches of latents of one size, for one process or several."""

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Sampler

from vaezoo.data.seeds import generator
from vaezoo.errors import InputError
from vaezoo.latents.latent_dataset import LatentDataset


class BucketBatchSampler(Sampler[list[int]]):
    """Batches whose samples are all of one bucket, so that their latents have one shape.

    All processes get the same number of batches, at each step of the same bucket and size. To that end samples are
    repeated, fewer than there are processes in each bucket, or left out with `drop_last`. Pass it as `batch_sampler` to
    a `DataLoader`, and call `set_epoch` before each epoch.

    Args:
        dataset: The data set.
        batch_size: Samples of a batch of one process.
        shuffle: Whether to draw the order of samples and batches anew in each epoch.
        seed: Seed of the order.
        drop_last: Whether to leave out the samples of a bucket that do not fill a batch in every process; otherwise
            they make a smaller one.
        num_replicas: Number of processes; `None` means those of `torch.distributed`, or one.
        rank: Number of this process, from 0; `None` means that of `torch.distributed`, or 0.

    Raises:
        InputError: If a number is out of range, or `drop_last` would leave no batch.

    Examples:
        >>> import torch, vaezoo
        >>> written = vaezoo.encode_dataset("vae_f8_z4_micro", data=".", out="latents", size=64)
        >>> sampler = vaezoo.BucketBatchSampler(vaezoo.LatentDataset("latents"), batch_size=2)
        >>> loader = torch.utils.data.DataLoader(sampler.dataset, batch_sampler=sampler)
        >>> sampler.set_epoch(1)
        >>> [tuple(batch["latents"].shape) for batch in loader]
        [(1, 4, 8, 8)]
    """

    def __init__(
        self,
        dataset: LatentDataset,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        grouped = dist.is_available() and dist.is_initialized()
        self.num_replicas = (dist.get_world_size() if grouped else 1) if num_replicas is None else num_replicas
        self.rank = (dist.get_rank() if grouped else 0) if rank is None else rank
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size {batch_size!r}: expected a whole number, 1 or more")
        if not 0 <= self.rank < self.num_replicas:
            raise InputError(f"rank {self.rank} of {self.num_replicas} processes: expected a rank from 0 to one less")
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0
        self._buckets = dataset.buckets
        if len(self) == 0:
            raise InputError(
                f"{dataset.folder}: no bucket fills a batch of {batch_size} in each of {self.num_replicas} processes; "
                "take a smaller batch_size, or drop_last=False"
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, counted from 0, and the draws of the data set in it."""
        self.epoch = epoch
        self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        step = self.batch_size * self.num_replicas
        spare = 0 if self.drop_last else step - 1
        return sum((len(indices) + spare) // step for indices in self._buckets.values())

    def __iter__(self) -> Iterator[list[int]]:
        steps = [step for bucket in self._buckets for step in self._steps(bucket)]
        for number in self._order(len(steps), "batches").tolist():
            yield steps[number][self.rank :: self.num_replicas].tolist()

    def _steps(self, bucket: str) -> list[Tensor]:
        """The samples of each step in a bucket, those of all processes together."""
        indices = self._buckets[bucket]
        indices = indices[self._order(len(indices), bucket)]
        steps = list(indices.split(self.batch_size * self.num_replicas))
        if len(steps[-1]) == len(steps[0]) == self.batch_size * self.num_replicas:
            return steps
        if self.drop_last:
            return steps[:-1]
        missing = -len(steps[-1]) % self.num_replicas
        repeated = indices.repeat(-(-missing // len(indices)))[:missing]
        return [*steps[:-1], torch.cat([steps[-1], repeated])]

    def _order(self, count: int, purpose: str) -> Tensor:
        if not self.shuffle:
            return torch.arange(count)
        return torch.randperm(count, generator=generator(self.seed, purpose, self.epoch))
