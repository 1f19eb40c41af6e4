"""Weights folded with the operation before them."""

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_FOLDED = WeakTensorKeyDictionary()  # weight -> its version, the folded weight


def fold_nearest(weight: Tensor) -> Tensor:
    """The 4x4 transposed convolution that equals nearest-neighbor upsampling by 2 and a 3x3 convolution.

    A pixel of the upsampled map is one of four copies, so that taps that see the same copy add up: of the three taps
    along a side, two see one pixel of the input and one the next. The sums are computed in float32 and kept until the
    weight changes.

    Args:
        weight: Weight of the 3x3 convolution, of shape (out, in, 3, 3).

    Returns:
        Weight of shape (in, out, 4, 4), for `torch.nn.functional.conv_transpose2d` with stride 2 and padding 1.
    """
    known = _FOLDED.get(weight)
    version = 0 if weight.is_inference() else weight._version
    if known is None or known[0] != version:
        spread = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], device=weight.device)
        folded = torch.einsum("ay,bx,oiyx->ioab", spread, spread, weight.detach().float())
        memory_format = torch.channels_last if weight.is_contiguous(memory_format=torch.channels_last) else None
        folded = folded.to(weight.dtype).contiguous(memory_format=memory_format or torch.contiguous_format)
        known = (version, folded)
        _FOLDED[weight] = known
    return known[1]
