"""LPIPS backbones without weights."""

from torch import nn


class Colors(nn.Module):
    """Five feature maps with the channel counts of AlexNet; each repeats the channels of the image."""

    def forward(self, x):
        return [x.repeat(1, -(-c // 3), 1, 1)[:, :c] for c in (64, 192, 384, 256, 256)]
