"""`optimize(compile=True)`: one graph for all heights and widths, with the results of the plain path."""

from functools import partial

import pytest
import torch
from support.training import tiny_spec
from torch._dynamo.testing import CompileCounter

import vaezoo
from vaezoo.inference.optimize import optimize


def test_a_half_is_compiled_once_for_all_sizes_and_batches_of_several(monkeypatch):
    counter = CompileCounter()  # a backend that runs graphs as they are
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    vae = vaezoo.create(tiny_spec())
    fast = optimize(vae, "fp32", compile=True)
    limit = torch._dynamo.config.patch(recompile_limit=1)  # for each half, not for both together
    with limit, torch.inference_mode():
        for shape in ((2, 3, 32, 48), (2, 3, 48, 32), (3, 3, 64, 64)):
            images = torch.rand(shape) * 2 - 1
            assert torch.allclose(fast(images).reconstruction, vae(images).reconstruction, atol=1e-5)
    assert counter.frame_count == 2


@pytest.mark.slow
def test_code_that_the_compiler_generates_computes_the_same():
    vae = vaezoo.create(tiny_spec())
    fast = optimize(vae, "fp32", compile=True)
    with torch.inference_mode():
        for shape in ((2, 3, 32, 48), (3, 3, 48, 32)):
            images = torch.rand(shape) * 2 - 1
            assert torch.allclose(fast(images).reconstruction, vae(images).reconstruction, atol=1e-4)
