"""Random numbers that depend only on a seed and their purpose, so that a resumed run draws the same ones."""

import random

import torch


def numbers(seed: int, *purpose: object) -> random.Random:
    """Create a random number generator for one purpose; equal arguments give equal numbers on every machine.

    Args:
        seed: Seed of the run.
        *purpose: What the numbers are for, such as `"crop", 17`.
    """
    return random.Random(" ".join(map(str, (seed, *purpose))))


def generator(seed: int, *purpose: object) -> torch.Generator:
    """Create a PyTorch generator on the CPU for one purpose; arguments as for `numbers`."""
    return torch.Generator().manual_seed(numbers(seed, *purpose).getrandbits(63))
