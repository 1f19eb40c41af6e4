"""LPIPS: a perceptual distance between images, from the features of a pretrained network."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vaezoo.errors import InputError
from vaezoo.evaluation.nets.frozen import Frozen, download, enough_memory_to_judge, timm_model
from vaezoo.specs.catalog import data_dir

EPS = 1e-8  # inside the root, so that the gradient is finite where all features of a position are zero
SMALLEST = 32  # pixels per side; pooling leaves nothing of smaller images
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # mean and std of ImageNet in [-1, 1]


class LPIPS(nn.Module):
    """Perceptual distance between two batches of images.

    The features of five layers are scaled to unit length at each position. The distance is the weighted sum of squared
    differences over channels, averaged over positions and summed over layers. The module stays in eval mode, computes
    in float32 even under autocast, and is neither trained nor saved.

    Args:
        net: Backbone: "vgg", as in losses and most papers, or "alex", which is closest to human judgment. Their values
            are not comparable.
        features: Module that maps normalized images (B, 3, H, W) to the five feature maps; `None` loads the backbone
            with its ImageNet weights.

    Raises:
        InputError: If the backbone is unknown.
        HubError: If the weights are not in the cache and cannot be downloaded.

    Source: Zhang et al. 2018 (arXiv:1801.03924); heads of richzhang/PerceptualSimilarity v0.1, `configs/lpips`.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: str = "vgg", features: nn.Module | None = None) -> None:
        super().__init__()
        if net not in BACKBONES:
            raise InputError(f"unknown LPIPS backbone {net!r}; expected one of {', '.join(BACKBONES)}")
        self.net = net
        heads = load_file(data_dir("configs") / "lpips" / "heads.safetensors")
        for layer in range(5):
            self.register_buffer(f"head{layer}", heads[f"{net}.{layer}"], persistent=False)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)
        self.features = Frozen(features or BACKBONES[net]())

    def forward(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """Compute the distance of each image; gradients flow to both arguments.

        Args:
            images: Tensor of shape (B, 3, H, W) with values in [-1, 1]; H and W at least 32.
            reconstruction: Tensor of the same shape; it is not clamped.

        Returns:
            Distances of shape (B,).

        Raises:
            InputError: If the shapes differ, or are not (B, 3, H, W) with H and W at least 32.
            OutOfMemoryError: If there is not enough memory.
        """
        shape = tuple(images.shape)
        if shape != tuple(reconstruction.shape):
            raise InputError(f"lpips: shapes {shape} and {tuple(reconstruction.shape)} differ")
        if images.ndim != 4 or shape[1] != 3 or min(shape[2:]) < SMALLEST:
            raise InputError(f"lpips: expected images of shape (B, 3, H, W), H and W at least {SMALLEST}, got {shape}")
        with torch.autocast(images.device.type, enabled=False), enough_memory_to_judge(images, f"lpips ({self.net})"):
            distance = torch.zeros(shape[0], device=images.device)
            pairs = zip(self._unit_features(images), self._unit_features(reconstruction), strict=True)
            for layer, (a, b) in enumerate(pairs):
                head = getattr(self, f"head{layer}").view(-1, 1, 1)
                distance = distance + ((a - b).square() * head).sum(dim=1).mean(dim=(1, 2))
        return distance

    def _unit_features(self, images: Tensor) -> list[Tensor]:
        """Return feature maps (B, C, h, w) that are scaled to length 1 over the channels of each position."""
        maps: list[Tensor] = self.features((images.float() - self.shift) / self.scale)
        return [x / (x.square().sum(dim=1, keepdim=True) + EPS).sqrt() for x in maps]


class LayerOutputs(nn.Module):
    """Run a sequence of layers and return the outputs of those in `indices`, which are in ascending order."""

    def __init__(self, layers: nn.Sequential, indices: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = layers[: indices[-1] + 1]
        self.indices = indices

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.indices:
                maps.append(x)
        return maps


def vgg(pretrained: bool = True) -> nn.Module:
    """Build VGG-16 with the outputs relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3."""
    return timm_model("vgg16.tv_in1k", pretrained, features_only=True, out_indices=(0, 1, 2, 3, 4))


def alex(pretrained: bool = True) -> nn.Module:
    """Build AlexNet, which timm does not have, with the outputs relu1 to relu5."""
    from torchvision.models import AlexNet_Weights, alexnet

    network = alexnet()
    if pretrained:
        weights = AlexNet_Weights.IMAGENET1K_V1
        state = download("alexnet", lambda: weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
        network.load_state_dict(state)
    return LayerOutputs(network.features, (1, 4, 7, 9, 11))


BACKBONES = {"vgg": vgg, "alex": alex}
