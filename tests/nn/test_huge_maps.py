"""Maps of more than 2^31 elements on a GPU, which PyTorch's kernel of channels_last leaves partly empty."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from vaezoo.nn.resamplers.upsamplers import NearestConv3x3, upsample_nearest


@pytest.mark.parametrize(("batch", "contiguous"), [(7, False), (8, True)])
def test_huge_maps_are_upsampled_as_contiguous_ones(batch, contiguous, monkeypatch):
    given, upsample = [], F.interpolate

    def spy(x, **options):
        given.append(x)
        return upsample(x, **options)

    monkeypatch.setattr(F, "interpolate", spy)
    with FakeTensorMode(), torch.device("cuda"):  # shapes only, no GPU
        x = torch.empty(batch, 256, 512, 512).to(memory_format=torch.channels_last)
        assert NearestConv3x3(256, 8, "zeros")(x).shape == (batch, 8, 1024, 1024)
    assert given[0].is_contiguous() == contiguous


@pytest.mark.parametrize("factor", [2, 3])
def test_values_do_not_depend_on_the_memory_format(factor):
    x = torch.randn(2, 3, 4, 5)
    result = upsample_nearest(x.to(memory_format=torch.channels_last), factor)
    assert torch.equal(result, x.repeat_interleave(factor, 2).repeat_interleave(factor, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_last_image_of_a_huge_batch_is_not_empty():
    x = torch.ones(17, 256, 512, 512, dtype=torch.bfloat16, device="cuda").to(memory_format=torch.channels_last)
    assert (upsample_nearest(x)[-1] == 1).all()
