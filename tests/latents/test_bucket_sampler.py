"""`BucketBatchSampler`: batches of one size, the same number in all processes."""

from collections import Counter

import pytest
import torch
from support.latent_folders import write_latents
from torch.utils.data import DataLoader

from vaezoo.errors import InputError
from vaezoo.latents.bucket_sampler import BucketBatchSampler
from vaezoo.latents.latent_dataset import LatentDataset

BUCKETS = {"32x16": 9, "16x32": 5, "16x16": 1}
COUNT = sum(BUCKETS.values())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return LatentDataset(write_latents(tmp_path_factory.mktemp("latents") / "out", BUCKETS), flip=True)


def test_one_process_sees_every_sample_once_in_batches_of_one_bucket(dataset):
    sampler = BucketBatchSampler(dataset, 2)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 5 + 3 + 1
    assert sorted(index for batch in batches for index in batch) == list(range(COUNT))
    for batch in DataLoader(dataset, batch_sampler=sampler, num_workers=2):
        assert {key.split("/")[0] for key in batch["key"]} in [{bucket} for bucket in BUCKETS]
        assert batch["latents"].shape[0] <= 2


def test_the_order_depends_on_seed_and_epoch(dataset):
    sampler = BucketBatchSampler(dataset, 2, seed=3)
    first = list(sampler)
    assert list(sampler) == first
    draw = dataset[0]["latents"]
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert not torch.equal(dataset[0]["latents"], draw)
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert torch.equal(dataset[0]["latents"], draw)
    assert list(BucketBatchSampler(dataset, 2, seed=4)) != first
    plain = BucketBatchSampler(dataset, 4, shuffle=False)
    assert list(plain)[:3] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, 8])
def test_all_processes_take_equal_steps_and_together_see_every_sample(dataset, ranks, size):
    samplers = [BucketBatchSampler(dataset, size, num_replicas=ranks, rank=rank) for rank in range(ranks)]
    steps = list(zip(*samplers, strict=True))
    assert {len(sampler) for sampler in samplers} == {len(steps)}
    bucket_of = {i: bucket for bucket, indices in dataset.buckets.items() for i in indices.tolist()}
    for step in steps:
        assert len({len(batch) for batch in step}) == 1
        assert len({bucket_of[index] for batch in step for index in batch}) == 1
    seen = Counter(index for step in steps for batch in step for index in batch)
    assert sorted(seen) == list(range(COUNT))
    for indices in dataset.buckets.values():
        assert sum(seen[i] for i in indices.tolist()) - len(indices) < ranks


@pytest.mark.parametrize(("ranks", "size"), [(1, 1), (2, 2), (3, 3)])
def test_drop_last_leaves_full_batches_in_all_processes(dataset, ranks, size):
    options = {"drop_last": True, "num_replicas": ranks}
    steps = list(zip(*(BucketBatchSampler(dataset, size, **options, rank=rank) for rank in range(ranks)), strict=True))
    assert len(steps) == sum(count // (ranks * size) for count in BUCKETS.values())
    assert {len(batch) for step in steps for batch in step} == {size}
    seen = [index for step in steps for batch in step for index in batch]
    assert len(set(seen)) == len(seen)


def test_two_ranks_with_workers_see_the_latents_that_one_process_sees(dataset):
    plain = {sample["key"]: sample["latents"] for sample in dataset}
    seen = []
    for rank in range(2):
        sampler = BucketBatchSampler(dataset, 2, num_replicas=2, rank=rank)
        for batch in DataLoader(dataset, batch_sampler=sampler, num_workers=1):
            seen += batch["key"]
            for key, latents in zip(batch["key"], batch["latents"], strict=True):
                assert torch.equal(latents, plain[key])
    assert set(seen) == plain.keys()


def test_numbers_that_do_not_fit_are_an_error(dataset):
    with pytest.raises(InputError, match="batch_size '2': expected a whole number"):
        BucketBatchSampler(dataset, "2")
    with pytest.raises(InputError, match="batch_size 0"):
        BucketBatchSampler(dataset, 0)
    with pytest.raises(InputError, match="rank 2 of 2 processes"):
        BucketBatchSampler(dataset, 1, num_replicas=2, rank=2)
    with pytest.raises(InputError, match=r"no bucket fills a batch of 8 in each of 2 processes; take a smaller"):
        BucketBatchSampler(dataset, 8, num_replicas=2, rank=0, drop_last=True)
