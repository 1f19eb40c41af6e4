"""Pretrained networks that are used but never trained."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.errors import HubError, InputError, UnknownNameError
from vaezoo.out_of_memory import enough_memory
from vaezoo.specs.faults import unknown

T = TypeVar("T")
_LESS = "take fewer or smaller images at a time (batch_size and data.sizes of a recipe, --size of a command)"


def enough_memory_to_judge(images: Tensor, name: str) -> AbstractContextManager[None]:
    """Context manager that raises `OutOfMemoryError` with the name of a network if it needs more memory than there is.

    Args:
        images: Images that the network is given.
        name: Name of the network, for the message.
    """
    return enough_memory(lambda: f"{name} of images of shape {tuple(images.shape)} on {images.device}", _LESS)


class Frozen(nn.Module):
    """A network that stays in eval mode and whose tensors no optimizer, checkpoint or `train()` touches.

    Its parameters become buffers that are not part of the state dict. They still move with `to`, and gradients still
    flow through the network to its input.

    Args:
        network: Network to freeze; it is changed in place.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network.eval()
        for module in network.modules():
            tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for name, tensor in tensors:
                delattr(module, name)
                module.register_buffer(name, tensor.detach(), persistent=False)

    def train(self, mode: bool = True) -> "Frozen":
        """Stay in eval mode, whatever `mode` is."""
        return super().train(False)

    def forward(self, x: Tensor) -> Any:
        """Return the output of the network: a tensor, or a list of tensors."""
        return self.network(x)


class Features(Frozen):
    """Feature maps of a timm model, with the image size and normalization it was trained with.

    (B, 3, H, W) in [-1, 1] -> a list of (B, channels[i], h_i, w_i), one for each of `layers`. The feature maps of a
    transformer have passed its last norm, for every layer.

    Args:
        model: Name of the model in timm.
        layers: Indices of the feature maps, counted from the first; -1 is the last.
        size: Pixels per side to which images are resized; `None` is the size the model was trained with.
        pretrained: Whether to load pretrained weights instead of random ones.

    Raises:
        UnknownNameError: If timm has no model of this name.
        InputError: If the model has no such layer.
        HubError: If the weights are not in the cache and cannot be downloaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: str, layers: Sequence[int], size: int | None = None, pretrained: bool = True) -> None:
        from timm.data import resolve_model_data_config

        network = timm_model(model, pretrained)
        count = len(network.feature_info)
        if not layers or not all(-count <= layer < count for layer in layers):
            raise InputError(f"{model} has {count} feature maps, 0 to {count - 1}; got layers {list(layers)}")
        config = resolve_model_data_config(network)
        own = config["input_size"][-1]
        if size not in (None, own) and hasattr(network, "set_input_size"):
            network.set_input_size(img_size=size)
        super().__init__(network)
        self.name, self.size = model, size or own
        self.layers = [layer % count for layer in layers]
        self.channels: list[int] = [network.feature_info[layer]["num_chs"] for layer in self.layers]
        self.register_buffer("mean", torch.tensor(config["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of images (B, 3, H, W) in [-1, 1], in the order of `layers`."""
        layers = sorted(set(self.layers))
        with enough_memory_to_judge(images, self.name):
            if images.shape[2:] != (self.size, self.size):
                images = F.interpolate(images, size=(self.size, self.size), mode="bicubic", antialias=True)
            x = ((images + 1) / 2 - self.mean) / self.std
            found = self.network.forward_intermediates(x, indices=layers, norm=True, intermediates_only=True)
        maps = dict(zip(layers, found, strict=True))
        return [maps[layer] for layer in self.layers]


def timm_model(name: str, pretrained: bool = True, **options: object) -> Any:
    """Create a model of timm.

    Args:
        name: Name of the model in timm.
        pretrained: Whether to load pretrained weights instead of random ones.
        **options: Further arguments of `timm.create_model`.

    Returns:
        The model; it is typed `Any` because timm has no types for its attributes.

    Raises:
        UnknownNameError: If timm has no model of this name.
        HubError: If the weights are not in the cache and cannot be downloaded.
    """
    import timm

    check_timm_name(name)
    if not pretrained:
        return timm.create_model(name, pretrained=False, **options)
    return download(name, lambda: timm.create_model(name, pretrained=True, **options))


def check_timm_name(name: str, others: Iterable[str] = ()) -> None:
    """Raise `UnknownNameError` if timm has no model of this name; `others` are further names that it could mean."""
    import timm

    if ":" not in name and not timm.is_model(name):
        raise UnknownNameError(unknown(name, [*others, *timm.list_models()], "model of timm"))


def download(name: str, build: Callable[[], T]) -> T:
    """Call a function that may download pretrained weights, and return its result.

    Args:
        name: Name of the weights, for the message.
        build: The function.

    Raises:
        HubError: If the download fails.
    """
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # each of many retries is a warning of two lines
    try:
        return build()
    except OSError as error:
        reason = str(error).partition("\n")[0]
        remedy = "connect to the internet once; they are cached (HF_HOME, TORCH_HOME)"
        raise HubError("offline", f"the weights of {name} cannot be downloaded: {remedy} ({reason})") from error
    finally:
        logger.setLevel(level)
