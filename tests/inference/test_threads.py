"""Images of a batch in threads of their own: which ones are, what they give, and what stays as it was."""

import threading

import pytest
import torch

import vaezoo
from vaezoo.inference import executor
from vaezoo.inference.optimize import optimize


@pytest.fixture
def passes(monkeypatch):
    """The thread of each pass through a half, and the number of PyTorch's threads in it, where PyTorch has four."""
    seen, of_image = [], executor.StripExecutor._of_image

    def watched(*arguments):
        seen.append((threading.current_thread(), torch.get_num_threads()))
        return of_image(*arguments)

    monkeypatch.setattr(executor.StripExecutor, "_of_image", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield seen
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def fast():
    return optimize(vaezoo.create("vae_f8_z4_micro", pretrained=True), "fp32")


def images(count):
    return torch.rand(count, 3, 32, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_images_of_a_batch_share_out_the_threads_and_come_back_in_order(fast, passes, mode):
    x = images(3)
    with mode():
        made = fast.encode(x).moments
    assert len({thread for thread, _ in passes}) > 1
    assert [threads for _, threads in passes] == [1] * 3  # four for three images
    assert made.is_inference() == (mode is torch.inference_mode)
    others = []
    (thread := threading.Thread(target=lambda: others.append(torch.get_num_threads()))).start()
    thread.join()
    assert others == [4]  # and not what was set for the images
    torch.set_num_threads(1)
    with mode():
        assert torch.equal(made, torch.cat([fast.encode(image).moments for image in x.split(1)]))
    assert passes[3:] == [(threading.current_thread(), 1)] * 3


def test_one_by_one_where_memory_hooks_or_strips_ask_for_it(fast, passes, monkeypatch):
    hook = fast.encoder[0].register_forward_hook(lambda module, inputs, output: None)
    with torch.no_grad():
        fast.encode(images(2))
        hook.remove()
        optimize(fast, "fp32", tile=16).encode(images(2))
        monkeypatch.setattr(executor, "free_bytes", lambda device: 1 << 20)
        fast.encode(images(2))
    assert passes == [(threading.current_thread(), 4)] * 6


def test_an_error_in_one_image_is_that_of_the_batch(fast, passes):
    x = images(4)
    x[2, 0, 0, 0] = torch.nan
    with (
        torch.no_grad(),
        pytest.raises(vaezoo.InputError, match=r"the input of the encoder, of shape \(1, 3, "),
    ):
        optimize(fast, "bf16").encode(x)
    assert torch.get_num_threads() == 4
