"""Discriminators. `DISCRIMINATORS` maps the kinds of a recipe to modules, whose keyword arguments are its keys.

A discriminator maps images of shape (B, 3, H, W) in [-1, 1] to logits of shape (B, N), one per location; positive means
"real". None of them has a batch norm, so the logits of an image do not depend on the rest of the batch.
"""

import itertools
from typing import Annotated

import torch
from torch import Tensor, nn

from vaezoo.evaluation.nets.frozen import Features
from vaezoo.specs.marks import Between

SLOPE = 0.2  # negative slope of the leaky ReLUs
INITIAL_STD = 0.02  # standard deviation of the initial weights of convolutions

Width = Annotated[int, Between(1, 4096)]


class PatchGAN(nn.Module):
    """4x4 convolutions whose logits each judge one of many overlapping patches, of 70x70 pixels for `layers=3`.

    (B, 3, H, W) -> (B, N); H and W must be at least 2 ** (layers + 2).

    Args:
        width: Channels of the first layer; each further layer doubles them, up to 8 * width.
        layers: Number of stride-2 convolutions, from 1 to 8; a stride-1 convolution and the logits follow.
        groups: Groups of the group norms; must divide 2 * width.

    Raises:
        ValueError: If `groups` does not divide 2 * width.

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
        modules: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for i, (before, after) in enumerate(itertools.pairwise(widths), start=1):
            stride = 2 if i < layers else 1
            conv = nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=False)
            modules += [conv, nn.GroupNorm(groups, after), nn.LeakyReLU(SLOPE)]
        modules.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.layers = nn.Sequential(*modules)
        _initialize(self.layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten(1)


class FeatureDiscriminator(nn.Module):
    """Trained heads on the feature maps of a frozen network.

    (B, 3, H, W) -> (B, N).

    Args:
        model: Name of a timm model; images are normalized with its own mean and standard deviation.
        layers: Indices of its feature maps; -1 is the last.
        width: Channels inside a head.
        size: Pixels per side to which images are resized; `None` means the size that the model was trained on.
        pretrained: Whether to load the pretrained weights; random ones are not saved in checkpoints.

    Raises:
        UnknownNameError: If timm has no model of this name.
        InputError: If the model has no such feature map.
        HubError: If its weights cannot be downloaded.

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
        scale = nn.GroupNorm(1, channels, affine=False)  # scales of feature maps differ by orders of magnitude
        layers = [nn.Conv2d(channels, width, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(width, 1, 3, padding=1)]
        head = nn.Sequential(scale, *layers)
        _initialize(head)
        return head

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        return torch.cat([head(x).flatten(1) for head, x in zip(self.heads, maps, strict=True)], dim=1)


DISCRIMINATORS: dict[str, type[nn.Module]] = {"patchgan": PatchGAN, "features": FeatureDiscriminator}


def _initialize(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=INITIAL_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
