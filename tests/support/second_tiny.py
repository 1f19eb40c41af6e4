"""TAEF2 and TAESANA in plain PyTorch, oracles for tests written only from the description of the originals
(madebyollin/taesd `taesd.py`), whose state dicts have the original names: a number for each step, also for those
without weights. Inside, images are in [0, 1]. `NETWORKS` says which network of the zoo each one proves."""

import torch
from torch import nn


def relu(x):
    return (x + x.abs()) / 2


def clamp(x):
    """3 tanh(x / 3), by way of the logistic function."""
    return 6 * torch.sigmoid(x * 2 / 3) - 3


def double(x):
    """Every pixel four times."""
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


class GroupNorm(nn.GroupNorm):
    """A group norm from its formula; the class above only holds the weights."""

    def forward(self, x):
        grouped = x.reshape(x.shape[0], self.num_groups, -1)
        centred = grouped - grouped.mean(dim=2, keepdim=True)
        unit = centred / (centred.pow(2).mean(dim=2, keepdim=True) + 1e-5).sqrt()
        return torch.einsum("bchw,c->bchw", unit.reshape(x.shape), self.weight) + self.bias[:, None, None]


def conv(a, b, stride=1, bias=True):
    return nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=bias)


class Block(nn.Module):
    """Three convolutions beside a shortcut; with a pool, what its branch says of the whole image comes first."""

    def __init__(self, a, b, pool=False):
        super().__init__()
        self.conv = nn.ModuleDict({"0": conv(a, b), "2": conv(b, b), "4": conv(b, b)})
        if a != b:
            self.skip = nn.Conv2d(a, b, 1, bias=False)
        if pool:
            narrow, wide = nn.Conv2d(4 * a, a, 1, bias=False), nn.Conv2d(a, 4 * a, 1, bias=False)
            self.pool = nn.ModuleDict({"0": wide, "1": GroupNorm(4, 4 * a), "3": narrow})

    def forward(self, x):
        if hasattr(self, "pool"):
            x = x + self.pool["3"](relu(self.pool["1"](self.pool["0"](x))))
        h = self.conv["4"](relu(self.conv["2"](relu(self.conv["0"](x)))))
        return relu(h + (self.skip(x) if hasattr(self, "skip") else x))


class Steps(nn.Module):
    """Functions and modules one after the other; a module's name is its place among them all."""

    def __init__(self, *steps):
        super().__init__()
        self.steps = [str(i) if isinstance(step, nn.Module) else step for i, step in enumerate(steps)]
        for i, step in enumerate(steps):
            if isinstance(step, nn.Module):
                self.add_module(str(i), step)

    def forward(self, x):
        for step in self.steps:
            x = self.get_submodule(step)(x) if isinstance(step, str) else step(x)
        return x


def shrinking(width, pool=False):
    """Halved first, then three blocks."""
    return [conv(width, width, stride=2, bias=False), *(Block(width, width, pool) for _ in range(3))]


def growing(a, b, pool=False):
    """Three blocks, then doubled, and from `a` to `b` channels."""
    return [*(Block(a, a, pool) for _ in range(3)), double, conv(a, b, bias=False)]


class Tiny(nn.Module):
    """Two halves as the originals keep them, in two files; images in [-1, 1] outside."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def encode(self, images):
        return self.encoder((images + 1) / 2)

    def decode(self, z):
        return 2 * self.decoder(z) - 1


def taef2():
    z = 32
    encoder = [conv(3, 64), Block(64, 64), *shrinking(64), *shrinking(64), *shrinking(64, pool=True), conv(64, z)]
    decoder = [clamp, conv(z, 64), relu, *growing(64, 64, pool=True), *growing(64, 64), *growing(64, 64)]
    return Tiny(Steps(*encoder), Steps(*decoder, Block(64, 64), conv(64, 3)))


def taesana():
    z = 32
    first = [conv(3, 32, stride=2), relu, conv(32, 64, stride=2), relu, Block(64, 64)]
    encoder = [*first, *shrinking(64), *shrinking(64), *shrinking(64), conv(64, z)]
    widths = [(256, 128), (128, 64), (64, 64), (64, 64), (64, 64)]
    decoder = [clamp, conv(z, 256), relu, *(step for a, b in widths for step in growing(a, b))]
    return Tiny(Steps(*encoder), Steps(*decoder, Block(64, 64), conv(64, 3)))


NETWORKS = {"taef2_f8_z32": taef2, "taesana_f32_z32": taesana}
