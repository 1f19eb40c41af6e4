"""LPIPS: how far apart two images are to a network that has learned to see, calibrated by people's judgements."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vaezoo.errors import InputError
from vaezoo.evaluation.nets.frozen import Frozen, fetched, timm_model
from vaezoo.specs.catalog import data_dir

EPS = 1e-8  # inside the root, so that the gradient is finite where all features of a position are zero
SMALLEST = 32  # pixels per side; below, pooling leaves nothing
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's mean and std in [-1, 1]


class LPIPS(nn.Module):
    """Perceptual distance of each image: features of five layers, each position's scaled to unit length, and the
    weighted squared differences of their channels, summed over layers and averaged over positions.

    Always in eval mode, without dropout, in float32 also under autocast; nothing of it is trained or saved.

    Args:
        net: `vgg` (losses and most papers) or `alex` (closest to people's judgements); their values differ.
        features: The five feature maps of (B, 3, H, W) images that are already shifted and scaled; None fetches the
            ImageNet weights of the network.

    Raises:
        InputError: If there is no such net.
        HubError: If the weights are not in the cache and cannot be fetched.

    Source: Zhang et al. 2018 (arXiv:1801.03924); heads of richzhang/PerceptualSimilarity v0.1, `configs/lpips`.
    """

    def __init__(self, net: str = "vgg", features: nn.Module | None = None) -> None:
        super().__init__()
        if net not in BACKBONES:
            raise InputError(f"no LPIPS with {net!r}; it has {', '.join(BACKBONES)}")
        heads = load_file(data_dir("configs") / "lpips" / "heads.safetensors")
        for layer in range(5):
            self.register_buffer(f"head{layer}", heads[f"{net}.{layer}"], persistent=False)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)
        self.features = Frozen(features or BACKBONES[net]())

    def forward(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """The distance of each image, of shape (B,); the gradient reaches both.

        Args:
            images: Of shape (B, 3, H, W), values in [-1, 1]; H and W at least 32.
            reconstruction: Of the same shape; not clamped.

        Raises:
            InputError: If the shapes differ, are no colour images, or are too small.
        """
        shape = tuple(images.shape)
        if shape != tuple(reconstruction.shape):
            raise InputError(f"lpips: shapes {shape} and {tuple(reconstruction.shape)} differ")
        if images.ndim != 4 or shape[1] != 3 or min(shape[2:]) < SMALLEST:
            raise InputError(f"lpips: expected images of shape (B, 3, H, W), H and W at least {SMALLEST}, got {shape}")
        with torch.autocast(images.device.type, enabled=False):
            distance = torch.zeros(shape[0], device=images.device)
            for layer, (a, b) in enumerate(zip(self._units(images), self._units(reconstruction), strict=True)):
                head = getattr(self, f"head{layer}").view(-1, 1, 1)
                distance = distance + ((a - b).square() * head).sum(dim=1).mean(dim=(1, 2))
        return distance

    def _units(self, images: Tensor) -> list[Tensor]:
        """Feature maps (B, C, h, w), of length 1 over the channels of each position."""
        maps = self.features((images.float() - self.shift) / self.scale)
        return [x / (x.square().sum(dim=1, keepdim=True) + EPS).sqrt() for x in maps]


class Taps(nn.Module):
    """What leaves the layers numbered in `ends` of a sequence of layers, as a list."""

    def __init__(self, layers: nn.Sequential, ends: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = layers[: ends[-1] + 1]
        self.ends = ends

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.ends:
                maps.append(x)
        return maps


def vgg(pretrained: bool = True) -> nn.Module:
    """Relu 1_2, 2_2, 3_3, 4_3 and 5_3 of VGG-16."""
    return timm_model("vgg16.tv_in1k", pretrained, features_only=True, out_indices=(0, 1, 2, 3, 4))


def alex(pretrained: bool = True) -> nn.Module:
    """Relu 1 to 5 of AlexNet, which timm does not have."""
    from torchvision.models import AlexNet_Weights, alexnet

    network = alexnet()
    if pretrained:
        weights = AlexNet_Weights.IMAGENET1K_V1
        state = fetched("alexnet", lambda: weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
        network.load_state_dict(state)
    return Taps(network.features, (1, 4, 7, 9, 11))


BACKBONES = {"vgg": vgg, "alex": alex}
