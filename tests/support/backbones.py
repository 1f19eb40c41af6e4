"""Backbones of LPIPS that need no weights."""

from torch import nn


class Colours(nn.Module):
    """Five feature maps of the width of AlexNet's: the image itself, its channels repeated."""

    def forward(self, x):
        return [x.repeat(1, -(-c // 3), 1, 1)[:, :c] for c in (64, 192, 384, 256, 256)]
