"""What PyTorch's functions on feature maps become: the nodes of convolutions, norms, resampling and attention."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.inference.strips import winograd
from vaezoo.inference.strips.fold import fold_nearest
from vaezoo.inference.strips.nodes import Local, MapNode, Range
from vaezoo.inference.strips.normalized import Normalized
from vaezoo.inference.strips.spatial import Extended, Gathered, Nearest, Spread, Transposed, Window, Windowed
from vaezoo.inference.strips.strip_run import Run
from vaezoo.nn.efficientvit import ATTENTION_EPS
from vaezoo.nn.resamplers.upsamplers import upsample_nearest

Pair = int | tuple[int, ...]


def conv2d(
    run: Run,
    x: MapNode,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> MapNode | None:
    """A convolution; the nearest-neighbor upsampling before it is folded into it."""
    strides, kernel = _pair(stride), tuple(weight.shape[-2:])
    if isinstance(padding, str) or _pair(dilation) != (1, 1):
        return None
    pads = _pair(padding)
    upsampled = run.fuse and isinstance(x, Nearest) and x.stored is None and x.factor == 2
    if upsampled and kernel == (3, 3) and strides == pads == (1, 1) and groups == 1:
        shape = torch.Size((*x.shape[:-3], weight.shape[0], *x.shape[-2:]))
        return Transposed(shape, x.inputs[0], _upsampling(weight, bias))
    window = Window(kernel[0], strides[0], pads[0], x.height)
    height = (x.height + 2 * pads[0] - kernel[0]) // strides[0] + 1
    width = (x.shape[-1] + 2 * pads[1] - kernel[1]) // strides[1] + 1
    points = cache(partial(winograd.evaluated, weight, winograd.CONVOLUTION))  # once for all strips

    def convolve(rows: Tensor, zeros: Range) -> Tensor:
        if run.fuse and max(pads) < winograd.KERNEL and winograd.pays(rows, weight, strides, groups):
            return winograd.convolve(rows, points(), bias, zeros, pads[1], winograd.CONVOLUTION)
        above = pads[0] if zeros == (pads[0], pads[0]) else 0
        if not above and any(zeros):
            rows = F.pad(rows, (0, 0, *zeros))
        return F.conv2d(rows, weight, bias, strides, (above, pads[1]), 1, groups)

    return Windowed(torch.Size((x.shape[0], weight.shape[0], height, width)), x, window, convolve)


def _upsampling(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Nearest-neighbor upsampling by 2 with the 3x3 convolution after it, zero-padded."""
    folded = cache(partial(fold_nearest, weight))
    points = cache(partial(winograd.evaluated, weight, winograd.UPSAMPLED))

    def convolve(rows: Tensor) -> Tensor:
        if winograd.pays(rows, weight, (1, 1), 1):
            return winograd.convolve(rows, points(), bias, (1, 1), 1, winograd.UPSAMPLED)
        return F.conv_transpose2d(rows, folded(), bias, stride=2, padding=1)

    return convolve


def conv_transpose2d(
    run: Run,
    x: MapNode,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> MapNode | None:
    """A transposed convolution of 4x4 with stride 2 and padding 1, the only one that networks have."""
    found = tuple(weight.shape[-2:]), _pair(stride), _pair(padding), _pair(output_padding), groups, _pair(dilation)
    if found != ((4, 4), (2, 2), (1, 1), (0, 0), 1, (1, 1)):
        return None
    shape = torch.Size((x.shape[0], weight.shape[1], 2 * x.height, 2 * x.shape[-1]))
    return Transposed(shape, x, partial(F.conv_transpose2d, weight=weight, bias=bias, stride=2, padding=1))


def pad(run: Run, x: MapNode, pad: Any, mode: str = "constant", value: float | None = None) -> MapNode | None:
    """Padding of height and width."""
    if value or len(pad) not in (2, 4):
        return None
    left, right, above, below = (*pad, 0, 0)[:4]
    if min(left, right, above, below) < 0:
        return None
    shape = torch.Size((*x.shape[:-2], x.height + above + below, x.shape[-1] + left + right))
    return Extended(shape, x, above, (left, right), mode)


def group_norm(
    run: Run, x: MapNode, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> MapNode:
    """Group norm, for which the map before it is computed."""
    run.gather(x, num_groups)
    return Normalized(x, weight, bias, eps)


def interpolate(run: Run, x: MapNode, **options: Any) -> MapNode | None:
    """Nearest-neighbor upsampling by a whole number."""
    given = {key: value for key, value in options.items() if value is not None and value is not False}
    factor = given.pop("scale_factor", None)
    if given != {"mode": "nearest"} or not isinstance(factor, int | float) or factor != int(factor):
        return None
    return nearest(run, x, int(factor))


def nearest(run: Run, x: MapNode, factor: int) -> MapNode:
    """Nearest-neighbor upsampling of the networks of the zoo."""
    shape = torch.Size((*x.shape[:-2], factor * x.height, factor * x.shape[-1]))
    return Nearest(shape, x, factor, partial(upsample_nearest, factor=factor))


def pixel_shuffle(run: Run, x: MapNode, upscale_factor: int) -> MapNode:
    """Channels become patches."""
    r = upscale_factor
    shape = torch.Size((x.shape[0], x.shape[1] // r**2, r * x.height, r * x.shape[-1]))
    return Spread(shape, x, r, partial(F.pixel_shuffle, upscale_factor=r))


def pixel_unshuffle(run: Run, x: MapNode, downscale_factor: int) -> MapNode:
    """Patches become channels."""
    r = downscale_factor
    shape = torch.Size((x.shape[0], x.shape[1] * r**2, x.height // r, x.shape[-1] // r))
    return Gathered(shape, x, r, partial(F.pixel_unshuffle, downscale_factor=r))


def attend(run: Run, x: MapNode, qkv: nn.Linear, proj: nn.Linear, heads: int) -> MapNode | None:
    """Self-attention: keys and values of all positions are kept, and a strip has the queries of its own positions."""
    if type(qkv) is not nn.Linear or qkv._forward_hooks or qkv._forward_pre_hooks:
        return None  # something else than the product with its weight is wanted
    b, c, h, w = x.shape
    start, end = run.rows(h)
    key_value = torch.empty(2, b, heads, (end - start) * w, c // heads, dtype=x.dtype, device=qkv.weight.device)
    for first, rows in run.strips_read_again(x):
        projected = F.linear(rows.flatten(2).transpose(1, 2), qkv.weight[c:], qkv.bias[c:])
        split = projected.unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4)
        key_value[:, :, :, (first - start) * w :][..., : split.shape[3], :] = split
    keys, values = run.all_rows(key_value, 3, h)

    def mixed(rows: list[Tensor], first: int, last: int) -> Tensor:
        queries = F.linear(rows[0].flatten(2).transpose(1, 2), qkv.weight[:c], qkv.bias[:c])
        queries = queries.unflatten(2, (heads, -1)).transpose(1, 2)
        # on the meta device, where memory is counted, PyTorch would allocate the scores, which kernels do not
        attention = _allocate_only if rows[0].is_meta else F.scaled_dot_product_attention
        result = attention(queries, keys, values)
        return proj(result.transpose(1, 2).flatten(2)).transpose(1, 2).unflatten(2, (last - first, w))

    return Local(x.shape, x.dtype, (x,), mixed)


def mix_positions(run: Run, x: MapNode, head_channels: int) -> MapNode | None:
    """Linear attention: products of keys and values are summed over all positions first."""
    b, channels, h, w = x.shape
    if h * w <= head_channels:
        return None

    def split(rows: Tensor) -> tuple[Tensor, ...]:
        return rows.flatten(2).unflatten(1, (-1, 3 * head_channels)).chunk(3, dim=2)

    def products(rows: Tensor) -> Tensor:
        _, k, v = split(rows)
        return F.pad(v.float(), (0, 0, 0, 1), value=1.0) @ F.relu(k).float().transpose(-1, -2)

    sums = run.total(torch.stack([products(rows) for _, rows in run.strips_read_again(x)]).sum(dim=0))

    def mixed(rows: list[Tensor], first: int, last: int) -> Tensor:
        q = F.relu(split(rows[0])[0]).float()
        result = sums @ q
        result = result[:, :, :-1] / (result[:, :, -1:] + ATTENTION_EPS)
        return result.to(rows[0].dtype).reshape(b, channels // 3, last - first, w)

    return Local(torch.Size((b, channels // 3, h, w)), x.dtype, (x,), mixed)


def _allocate_only(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return torch.empty_like(queries)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


FUNCTIONS: dict[str, Callable[..., MapNode | None]] = {
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "pad": pad,
    "group_norm": group_norm,
    "interpolate": interpolate,
    "upsample_nearest": nearest,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "attend": attend,
    "mix_positions": mix_positions,
}
