"""A lack of memory in a VAE: one error with the size of its input."""

import pytest
import torch

from vaezoo.inference import executor
from vaezoo.inference.optimize import optimize
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
    with torch.no_grad(), pytest.raises(OutOfMemoryError, match=r"bf16, or vaezoo.optimize\(vae, tile='auto'\)"):
        vae.encode(images)
    with pytest.raises(OutOfMemoryError, match=r"latents of shape.*or torch.inference_mode\(\) where no gradients"):
        vae.decode(torch.zeros(1, 1, 1, 1).expand(1, vae.latent_channels, 2**21, 2**21))


@pytest.mark.parametrize(
    ("tile", "remedy"),
    [
        (None, r"use vaezoo.optimize\(vae, tile='auto'\)"),
        (64, "use tile='auto', a tile of less than 64 pixels"),
        ("auto", "take a smaller image"),
    ],
)
def test_an_optimized_model_names_the_estimate_and_the_tile_that_helps(tile, remedy, monkeypatch):
    def run_out(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of …")

    monkeypatch.setattr(executor, "run_half", run_out)
    monkeypatch.setattr(executor, "run_as_it_is", run_out)
    fast = optimize(create("vae_f8_z4_micro"), "fp32", tile=tile)
    text = r"^the decoder, with an input of shape \(1, 4, 16, 16\) in torch.float32, needs about [1-9]\d* MiB: out of "
    with torch.inference_mode(), pytest.raises(OutOfMemoryError, match=rf"{text}memory \(.*2.00 GiB\); {remedy}"):
        fast.decode(torch.zeros(2, 4, 16, 16))
