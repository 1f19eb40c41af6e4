"""Random numbers that depend on what they are for and on nothing else, so that a resumed run draws the same ones."""

import random

import torch


def numbers(seed: int, *purpose: object) -> random.Random:
    """Random numbers for one purpose, such as `("crop", 17)`: the same ones whenever and wherever they are drawn."""
    return random.Random(" ".join(map(str, (seed, *purpose))))


def generator(seed: int, *purpose: object) -> torch.Generator:
    """`numbers` for tensors, on the CPU."""
    return torch.Generator().manual_seed(numbers(seed, *purpose).getrandbits(63))
