"""Weights folded with the operation before them."""

import torch
from torch import Tensor


def fold_nearest(weight: Tensor) -> Tensor:
    """The 4x4 transposed convolution that equals nearest-neighbor upsampling by 2 and a 3x3 convolution.

    A pixel of the upsampled map is one of four copies, so taps that see the same copy add up: of the three taps along a
    side, two see one pixel of the input and one the next. The sums are computed in float32 or the weight's own dtype,
    whichever is more precise. They take milliseconds and are not kept, because a weight can change unseen.

    Args:
        weight: Weight of the 3x3 convolution, of shape (out, in, 3, 3).

    Returns:
        Weight of shape (in, out, 4, 4), for `torch.nn.functional.conv_transpose2d` with stride 2 and padding 1.
    """
    precise = torch.promote_types(weight.dtype, torch.float32)
    spread = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], device=weight.device, dtype=precise)
    folded = torch.einsum("ay,bx,oiyx->ioab", spread, spread, weight.detach().to(precise))
    channels_last = weight.is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return folded.to(weight.dtype).contiguous(memory_format=memory_format)
