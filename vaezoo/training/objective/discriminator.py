"""Discriminators. `DISCRIMINATORS` maps a recipe's name to a module; its keyword-only arguments are the keys.

Each gives (B, 3, H, W) images in [-1, 1] to logits (B, N), one for each place it looks at: positive is "real". None of
them has a batch norm: what it says of an image must not depend on the batch, and a batch of one must do.
"""

import itertools
from typing import Annotated

import torch
from torch import Tensor, nn

from vaezoo.evaluation.nets.frozen import Features
from vaezoo.specs.marks import Between

SLOPE = 0.2  # of the leaky ReLUs
INITIAL_STD = 0.02  # of all convolutions

Width = Annotated[int, Between(1, 4096)]


class PatchGAN(nn.Module):
    """Convolutions of 4x4, whose every logit judges one overlapping patch: 70x70 pixels where `layers` is 3.

    (B, 3, H, W) -> (B, N); H and W at least 2 ** (layers + 2).

    Args:
        width: Channels of the first layer; doubled by each further one, up to eight times as many.
        layers: Number of convolutions that halve the image; one of stride 1 and the logits follow.
        groups: Groups of the group norms; must divide `width` times 2.

    Raises:
        ValueError: If it does not.

    Source: Isola et al. 2017 (arXiv:1611.07004), sizes as in CompVis/taming-transformers
    `taming/modules/discriminator/model.py`, which has batch norms.
    """

    def __init__(
        self,
        *,
        width: Width = 64,
        layers: Annotated[int, Between(1, 8)] = 3,
        groups: Annotated[int, Between(1, 4096)] = 32,
    ) -> None:
        super().__init__()
        if 2 * width % groups:
            raise ValueError(f"groups {groups} does not divide {2 * width}, twice the width")
        widths = [width * min(2**i, 8) for i in range(layers + 1)]
        rows: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for i, (before, after) in enumerate(itertools.pairwise(widths), start=1):
            stride = 2 if i < layers else 1
            conv = nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=False)
            rows += [conv, nn.GroupNorm(groups, after), nn.LeakyReLU(SLOPE)]
        rows.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.layers = nn.Sequential(*rows)
        _initialise(self.layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten(1)


class FeatureDiscriminator(nn.Module):
    """A small head on each of several feature maps of a network that is never trained.

    (B, 3, H, W) -> (B, N).

    Args:
        model: timm's name of the network; it sees images with its own mean and standard deviation.
        layers: Which of its feature maps, counted from the first; -1 is the last.
        width: Channels inside a head.
        size: Pixels per side that the network sees; null is the size it was trained on.
        pretrained: Whether the network has its pretrained weights, or random ones, which no checkpoint keeps.

    Raises:
        UnknownNameError: If timm has no model of this name.
        InputError: If it has no such layer.
        HubError: If its weights cannot be had.

    Source: Sauer et al. 2021 (arXiv:2111.01007); on a vision transformer as in Sauer et al. 2023 (arXiv:2301.09515).
    """

    def __init__(
        self,
        *,
        model: str,
        layers: tuple[int, ...] = (-1,),
        width: Width = 64,
        size: Annotated[int, Between(8, 4096)] | None = None,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        self.features = Features(model, layers, size, pretrained)
        self.heads = nn.ModuleList(self._head(channels, width) for channels in self.features.channels)

    @staticmethod
    def _head(channels: int, width: int) -> nn.Module:
        scale = nn.GroupNorm(1, channels, affine=False)  # maps of one network differ in size by orders of magnitude
        layers = [nn.Conv2d(channels, width, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(width, 1, 3, padding=1)]
        head = nn.Sequential(scale, *layers)
        _initialise(head)
        return head

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        return torch.cat([head(x).flatten(1) for head, x in zip(self.heads, maps, strict=True)], dim=1)


DISCRIMINATORS: dict[str, type[nn.Module]] = {"patchgan": PatchGAN, "features": FeatureDiscriminator}


def _initialise(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=INITIAL_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
