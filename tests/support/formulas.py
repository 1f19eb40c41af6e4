"""Multiply-accumulates of layers in closed form."""


def conv(kernel: int, in_channels: int, out: int, positions: int) -> int:
    """Multiply-accumulates of a convolution with `positions` results per channel."""
    return kernel * kernel * in_channels * out * positions


def residual(in_channels: int, out: int, positions: int) -> int:
    branch = conv(3, in_channels, out, positions) + conv(3, out, out, positions)
    return branch + conv(1, in_channels, out, positions)


def attention(channels: int, tokens: int) -> int:
    """qkv and projection, then scores and their mixture: T x T x C each."""
    return 4 * tokens * channels**2 + 2 * tokens**2 * channels
