"""Memory of strips: what is kept, and that nothing else is."""

import gc
from collections import Counter

import pytest
import torch
from support.small import small_vae
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import vaezoo
from vaezoo.inference.executor import FASTEST
from vaezoo.inference.optimize import optimize
from vaezoo.inference.strip_pass import needed_bytes, run_half
from vaezoo.inference.strips.nodes import MapNode, of_tensor
from vaezoo.inference.strips.rows import Rows
from vaezoo.inference.strips.strip_run import Plan, Run
from vaezoo.nn.resamplers.upsamplers import upsample_nearest


@pytest.mark.slow
def test_strips_need_less_memory_and_small_strips_less_again():
    layers = {"decoder.*.layers": 1}  # per row, which is where the time goes
    vae = vaezoo.create("vae_f8_z4", device="meta", overrides=layers).to(memory_format=torch.channels_last)
    z = torch.empty(1, 4, 64, 64, device="meta")
    plans = [(1 << 60, 1 << 60), (8 << 20, 1 << 60), (8 << 20, 0)]
    whole, strips, lean = (needed_bytes(vae.decoder, z, Plan(*plan), fuse=True) for plan in plans)
    assert lean < 0.6 * strips
    assert strips < 0.8 * whole


def test_a_sum_is_kept_before_upsampling_and_the_larger_map_is_not():
    convolution = nn.Conv2d(8, 8, 3, padding=1)
    with torch.inference_mode():
        run, x = Run(Plan(1 << 40, 0, share=0.25)), torch.randn(1, 8, 32, 8)
        rows = Rows.of(run, of_tensor(x), x.device)
        total = rows + convolution(rows)
        large = convolution(upsample_nearest(total))
        assert total.handle.node.stored
        assert not large.handle.node.stored
        expected = convolution(upsample_nearest(x + convolution(x)))
        torch.testing.assert_close(run.tensor(large.handle.node), expected, atol=1e-5, rtol=0)


def test_no_map_waits_for_the_garbage_collector():
    """A cycle of references would keep maps in memory for an unknown time."""
    vae = small_vae("ldm_f8_z4")
    fast, z = optimize(vae, "fp32", tile=16), torch.zeros(1, vae.spec.latent.channels, 8, 8)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        with torch.inference_mode():
            fast.decode(z)
        gc.collect()
        assert not [x for x in gc.garbage if isinstance(x, MapNode | torch.Tensor)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


class ConvolvedBy(TorchDispatchMode):
    """Collects the weights of all convolutions."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "convolution" in function.__name__:
            self.weights.append(args[1].data_ptr())
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["dcae_lite_f32_z32", "qwenimage_f8_z16"])  # without group norms, which keep maps
def test_no_map_is_computed_twice_for_attention_over_all_positions(name):
    half = small_vae(name).encoder
    with torch.no_grad(), ConvolvedBy() as convolved:
        run_half(half, torch.randn(1, 3, 128, 128), Run(FASTEST))
    counts = Counter(convolved.weights)
    wide = {p.data_ptr() for p in half.parameters() if p.ndim == 4 and p.shape[-1] == 3 and p.shape[1] > 1}
    assert wide <= counts.keys()
    assert all(counts[weight] == 1 for weight in wide)
