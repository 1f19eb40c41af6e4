"""A lack of memory in a VAE: one error with the size of its input."""

import pytest
import torch

from vaezoo.out_of_memory import OutOfMemoryError
from vaezoo.zoo.create import create


def test_a_lack_of_memory_names_the_shape_and_what_helps():
    vae, images = (
        create("vae_f8_z4_micro"),
        torch.zeros(1, 1, 1, 1).expand(1, 3, 2**21, 2**21),
    )  # 48 TiB if it were copied
    text = r"images of shape \(1, 3, 2097152, 2097152\) in torch.float32 on cpu: out of memory \(.*\); take fewer"
    with pytest.raises(OutOfMemoryError, match=text) as raised:
        vae.encode(images)
    assert isinstance(raised.value, torch.OutOfMemoryError)  # what programs catch to try a smaller batch
    with pytest.raises(OutOfMemoryError, match="latents of shape"):
        vae.decode(torch.zeros(1, 1, 1, 1).expand(1, vae.latent_channels, 2**21, 2**21))
