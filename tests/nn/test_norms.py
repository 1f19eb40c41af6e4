"""Norms against PyTorch's own, and what must hold for each of them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vaezoo.nn.norms import NORMS

X = 3 * torch.randn(2, 8, 4, 6, generator=torch.Generator().manual_seed(1)) + 1


def randomized(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        for tensor in norm.state_dict().values():
            tensor.uniform_(0.5, 2)
    return norm


def test_rms_norm_is_pytorch_s_over_channels_with_a_bias():
    norm = randomized(NORMS["rms"](8, None, 1e-2))
    expected = F.rms_norm(X.movedim(1, -1), (8,), norm.weight, 1e-2).movedim(-1, 1) + norm.bias.view(-1, 1, 1)
    torch.testing.assert_close(norm(X), expected)


def test_l2_norm_divides_by_the_length_of_each_position_s_channels():
    norm = randomized(NORMS["l2"](8, None, 1e-12))
    length = X.square().sum(dim=1, keepdim=True).sqrt()
    torch.testing.assert_close(norm(X), X / length * 8**0.5 * norm.weight.view(-1, 1, 1))
    assert norm(torch.zeros(1, 8, 2, 2)).abs().max() == 0
    floor = NORMS["l2"](8, None, 0.5)
    torch.testing.assert_close(floor(X * 1e-6), X * 1e-6 / 0.5 * 8**0.5)


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_uses_the_stored_statistics_in_training_too_and_keeps_them(training):
    norm, theirs = randomized(NORMS["batch"](8, None, 1e-3)).train(training), nn.BatchNorm2d(8, 1e-3)
    theirs.load_state_dict({**norm.state_dict(), "num_batches_tracked": torch.tensor(0)})
    before = {key: tensor.clone() for key, tensor in norm.state_dict().items()}
    torch.testing.assert_close(norm(X), theirs.eval()(X))
    assert all(torch.equal(tensor, before[key]) for key, tensor in norm.state_dict().items())


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_norm_in_half_precision_is_near_itself_in_float32_and_keeps_the_dtype(name, dtype):
    norm = NORMS[name](8, 4 if name == "group" else None, 1e-5)
    half = NORMS[name](8, 4 if name == "group" else None, 1e-5).to(dtype)
    out = half(X.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), norm(X.to(dtype).float()), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", [name for name in NORMS if name != "group"])
def test_groups_are_for_the_group_norm_alone(name):
    with pytest.raises(ValueError, match=f"groups 4 means nothing to norm: {name}; write groups: null"):
        NORMS[name](8, 4, 1e-5)
    with pytest.raises(ValueError, match="groups is null"):
        NORMS["group"](8, None, 1e-5)
