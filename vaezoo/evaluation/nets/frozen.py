"""Pretrained networks that look at images and are never trained."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.errors import HubError, InputError, UnknownNameError
from vaezoo.specs.faults import unknown


class Frozen(nn.Module):
    """A network in eval mode for ever, whose tensors no optimiser, checkpoint or `train()` touches.

    Its parameters become buffers that are left out of the state dict: they move with `to`, the gradient passes through
    to the images, and nothing has to remember to leave them alone.

    Args:
        network: Taken over, and changed in place.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()
        for module in network.modules():
            tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for name, tensor in tensors:
                delattr(module, name)
                module.register_buffer(name, tensor.detach(), persistent=False)

    def train(self, mode: bool = True) -> "Frozen":
        """Does nothing: dropout and batch statistics stay off."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        return self.network(x)


class Features(Frozen):
    """Feature maps of a timm model, which sees images at its own size, with its own mean and standard deviation.

    Of a transformer they have passed its last norm, whatever the layer.

    (B, 3, H, W) in [-1, 1] -> a list of (B, channels[i], h_i, w_i), one for each of `layers`.

    Args:
        model: timm's name of it.
        layers: Which of its feature maps, counted from the first; -1 is the last.
        size: Pixels per side that it sees, to which images are stretched; None is the size it was trained on.
        pretrained: Whether with pretrained weights, or with random ones.

    Raises:
        UnknownNameError: If timm has no model of this name.
        InputError: If it has no such layer.
        HubError: If the weights cannot be had.
    """

    def __init__(self, model: str, layers: Sequence[int], size: int | None = None, pretrained: bool = True) -> None:
        from timm.data import resolve_model_data_config

        network = timm_model(model, pretrained)
        count = len(network.feature_info)
        if not layers or not all(-count <= layer < count for layer in layers):
            raise InputError(f"{model} has {count} feature maps, 0 to {count - 1}; layers {list(layers)} are not there")
        config = resolve_model_data_config(network)
        own = config["input_size"][-1]
        if size not in (None, own) and hasattr(network, "set_input_size"):
            network.set_input_size(img_size=size)
        super().__init__(network)
        self.size = size or own
        self.layers = [layer % count for layer in layers]
        self.channels: list[int] = [network.feature_info[layer]["num_chs"] for layer in self.layers]
        self.register_buffer("mean", torch.tensor(config["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        if images.shape[2:] != (self.size, self.size):
            images = F.interpolate(images, size=(self.size, self.size), mode="bicubic", antialias=True)
        x = ((images + 1) / 2 - self.mean) / self.std
        layers = sorted(set(self.layers))
        found = self.network.forward_intermediates(x, indices=layers, norm=True, intermediates_only=True)
        maps = dict(zip(layers, found, strict=True))
        return [maps[layer] for layer in self.layers]


def timm_model(name: str, pretrained: bool = True, **options: object) -> nn.Module:
    """A model of timm.

    Raises:
        UnknownNameError: If timm has no model of this name.
        HubError: If its weights are not in the cache and cannot be fetched.
    """
    import timm

    if ":" not in name and not timm.is_model(name):
        raise UnknownNameError(unknown(name, timm.list_models(), "model of timm"))
    if not pretrained:
        return timm.create_model(name, pretrained=False, **options)
    return fetched(name, lambda: timm.create_model(name, pretrained=True, **options))


def fetched(name: str, build: Callable[[], Any]) -> Any:
    """What `build` makes, which may download the weights called `name`.

    Raises:
        HubError: If it cannot.
    """
    try:
        return build()
    except OSError as error:
        reason = str(error).partition("\n")[0]
        remedy = "connect to the network once, after which they stay in the cache (HF_HOME, TORCH_HOME)"
        raise HubError("offline", f"the pretrained weights of {name} cannot be had: {remedy} ({reason})") from error
