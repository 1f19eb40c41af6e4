"""The Cosmos image tokenizers in plain PyTorch, oracles for tests written only from the description of the originals
(NVIDIA/Cosmos-Tokenizer `modules/layers2d.py`, `modules/patching.py`), whose state dicts have the original names.
`NETWORKS` says which network of the zoo each one proves."""

import math

import torch
import torch.nn.functional as F
from torch import nn

STEM, WIDTHS = 128, (256, 512, 512)


def filters():
    """The four Haar filters of 2x2 pixels, orthonormal: low-low, then the difference of rows, of columns, of both."""
    low, high = torch.tensor([1.0, 1.0]) / math.sqrt(2), torch.tensor([1.0, -1.0]) / math.sqrt(2)
    return torch.stack([torch.outer(rows, columns) for columns in (low, high) for rows in (low, high)])


def analyse(x):
    """One wavelet level, at half the orthonormal scale: all channels through one filter after the other."""
    bank = filters().repeat_interleave(x.shape[1], dim=0).unsqueeze(1)
    return F.conv2d(x.repeat(1, 4, 1, 1), bank, stride=2, groups=4 * x.shape[1]) / 2


def synthesise(x):
    """The inverse of `analyse`: each channel gathers from its four wavelets."""
    channels = x.shape[1] // 4
    by_channel = x.reshape(x.shape[0], 4, channels, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
    return 2 * F.conv_transpose2d(by_channel, filters().repeat(channels, 1, 1).unsqueeze(1), stride=2, groups=channels)


def swish(x):
    return x * torch.sigmoid(x)


def group_norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class Residual(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.norm1, self.norm2 = group_norm(a), group_norm(b)
        self.conv1, self.conv2 = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)
        if a != b:
            self.nin_shortcut = nn.Conv2d(a, b, 1)

    def forward(self, x):
        h = self.conv2(swish(self.norm2(self.conv1(swish(self.norm1(x))))))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    """One head over all positions."""

    def __init__(self, channels):
        super().__init__()
        self.norm = group_norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        h = self.norm(x)
        q, k, v = self.q(h).flatten(2), self.k(h).flatten(2), self.v(h).flatten(2)  # each (B, C, positions)
        scores = torch.bmm(q.transpose(1, 2), k) / math.sqrt(x.shape[1])
        mixed = torch.bmm(v, scores.softmax(dim=2).transpose(1, 2))
        return x + self.proj_out(mixed.view(x.shape))


class Halve(nn.Module):
    """A strided convolution with zeros right and below."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        padded = x.new_zeros(*x.shape[:2], x.shape[2] + 1, x.shape[3] + 1)
        padded[:, :, :-1, :-1] = x
        return self.conv(padded)


class Double(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))


def level(a, b, count, **resampler):
    blocks = nn.ModuleList(Residual(b if i else a, b) for i in range(count))
    return nn.ModuleDict({"block": blocks, **resampler})


def middle(channels):
    blocks = {"block_1": Residual(channels, channels), "attn_1": Attention(channels)}
    return nn.ModuleDict({**blocks, "block_2": Residual(channels, channels)})


def through(x, *modules):
    for module in modules:
        x = module(x)
    return x


class Encoder(nn.Module):
    """The first `halvings` levels halve."""

    def __init__(self, z, halvings):
        super().__init__()
        self.conv_in = nn.Conv2d(3 * 16, STEM, 3, padding=1)
        ins = (STEM, *WIDTHS)
        self.down = nn.ModuleList(
            level(ins[i], b, 2, **({"downsample": Halve(b)} if i < halvings else {})) for i, b in enumerate(WIDTHS)
        )
        self.mid = middle(WIDTHS[-1])
        self.norm_out, self.conv_out = group_norm(WIDTHS[-1]), nn.Conv2d(WIDTHS[-1], z, 3, padding=1)

    def forward(self, images):
        x = self.conv_in(analyse(analyse(images)))
        for down in self.down:
            x = through(x, *down["block"])
            x = down["downsample"](x) if "downsample" in down else x
        return self.conv_out(swish(self.norm_out(through(x, *self.mid.values()))))


class Decoder(nn.Module):
    """The lowest `doublings` levels double; `up.0` is the highest and comes last."""

    def __init__(self, z, doublings):
        super().__init__()
        self.conv_in = nn.Conv2d(z, WIDTHS[-1], 3, padding=1)
        self.mid = middle(WIDTHS[-1])
        ins, lowest = (*WIDTHS[1:], WIDTHS[-1]), len(WIDTHS) - doublings
        self.up = nn.ModuleList(
            level(ins[i], b, 3, **({"upsample": Double(b)} if i >= lowest else {})) for i, b in enumerate(WIDTHS)
        )
        self.norm_out, self.conv_out = group_norm(WIDTHS[0]), nn.Conv2d(WIDTHS[0], 3 * 16, 3, padding=1)

    def forward(self, z):
        x = through(self.conv_in(z), *self.mid.values())
        for up in reversed(self.up):
            x = through(x, *up["block"])
            x = up["upsample"](x) if "upsample" in up else x
        return synthesise(synthesise(self.conv_out(swish(self.norm_out(x)))))


class Cosmos(nn.Module):
    """An autoencoder without a distribution: the quant convolutions go from z channels to z."""

    def __init__(self, halvings, z=16):
        super().__init__()
        self.encoder, self.decoder = Encoder(z, halvings), Decoder(z, halvings)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(z, z, 1), nn.Conv2d(z, z, 1)

    def encode(self, images):
        return self.quant_conv(self.encoder(images))

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))


NETWORKS = {"cosmos_f8_z16": lambda: Cosmos(halvings=1), "cosmos_f16_z16": lambda: Cosmos(halvings=2)}
