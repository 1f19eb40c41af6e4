"""A model with known reconstruction errors, and photos of noise."""

import numpy as np
import torch
from PIL import Image

from vaezoo.data.photos import Photo
from vaezoo.nn.distributions import Gaussian


class Offset:
    """A model with downscale 1 that adds `offset` to its images; `std` is the standard deviation of its posterior."""

    device, dtype, size_multiple = torch.device("cpu"), torch.float32, 1

    def __init__(self, offset: float = 0.0, std: float = 1e-6):
        self.offset, self.std = offset, std

    def encode(self, images):
        logvar = torch.full_like(images, 2 * np.log(self.std))
        return Gaussian(torch.cat([images, logvar], dim=1))

    def decode(self, z):
        return z + self.offset


def noise_photos(count: int, size: int = 16) -> list[Photo]:
    generator = np.random.default_rng(0)
    arrays = [generator.integers(20, 200, (size, size, 3), np.uint8) for _ in range(count)]
    return [Photo(f"{i}", lambda a=a: Image.fromarray(a)) for i, a in enumerate(arrays)]


def mean_and_spread(images: torch.Tensor) -> torch.Tensor:
    return torch.cat([images.mean(dim=(2, 3)), images.std(dim=(2, 3))], dim=1)
