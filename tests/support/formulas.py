"""Closed-form multiply-accumulate counts of layers."""


def conv(kernel: int, in_channels: int, out: int, positions: int) -> int:
    """Return the multiply-accumulates of a convolution with `positions` outputs per channel."""
    return kernel * kernel * in_channels * out * positions


def residual(in_channels: int, out: int, positions: int) -> int:
    branch = conv(3, in_channels, out, positions) + conv(3, out, out, positions)
    return branch + conv(1, in_channels, out, positions)


def attention(channels: int, tokens: int) -> int:
    """Return those of qkv and projection, plus T x T x C each for the scores and the weighted sum."""
    return 4 * tokens * channels**2 + 2 * tokens**2 * channels
