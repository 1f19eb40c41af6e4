"""Group norm with the statistics of the whole map."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.inference.strips.nodes import MapNode, join


class Normalized(MapNode):
    """A group norm, whose statistics are those of the whole source.

    Args:
        source: The input, whose moments are known.
        weight: Scale of each channel; `None` for 1.
        bias: Bias of each channel; `None` for 0.
        eps: Added to the variance.
    """

    owns_result = True

    def __init__(self, source: MapNode, weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
        super().__init__(source.shape, source.dtype, (source,))
        if source.moments is None:
            raise AssertionError("the moments of the source are needed first")
        mean, variance = source.moments.of_channels(source.shape[1])
        scale = torch.rsqrt(variance + eps)
        if weight is not None:
            scale = scale * weight.double()
        shift = -mean * scale
        if bias is not None:
            shift = shift + bias.double()
        self.scale, self.shift = scale.float(), shift.float()  # (B, C)

    def compute(self, inputs: list[list[Tensor]], owned: list[bool], first: int, last: int) -> Tensor:
        pieces = inputs[0]
        scale, shift = self.scale[..., None, None], self.shift[..., None, None]
        if self.dtype != torch.float32:
            return self._in_low_precision(join(pieces))
        if len(pieces) == 1:
            return torch.addcmul(shift, pieces[0], scale)
        shape = (*self.shape[:-2], last - first, self.shape[-1])
        memory_format = torch.channels_last if pieces[0].stride(1) == 1 else torch.contiguous_format
        result = torch.empty(shape, dtype=self.dtype, device=pieces[0].device, memory_format=memory_format)
        row = 0
        for piece in pieces:
            end = row + piece.shape[-2]
            torch.addcmul(shift, piece, scale, out=result[..., row:end, :])
            row = end
        return result

    def _in_low_precision(self, rows: Tensor) -> Tensor:
        """Products and sums are in float32, as in the group norm of PyTorch."""
        if len(rows) > 1:
            return torch.addcmul(self.shift[..., None, None], rows.float(), self.scale[..., None, None]).to(self.dtype)
        zeros, ones = torch.zeros_like(self.scale[0]), torch.ones_like(self.scale[0])
        return F.batch_norm(rows, zeros, ones, self.scale[0], self.shift[0], eps=0.0)
