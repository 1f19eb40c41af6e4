"""The networks that judge reconstructions, by name: LPIPS, Inception, and any model of timm."""

import importlib
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.errors import FileError, HubError, InputError
from vaezoo.evaluation.nets.frozen import Frozen, fetched, timm_model
from vaezoo.evaluation.nets.lpips import LPIPS
from vaezoo.evaluation.tally import Nets
from vaezoo.weights.pickles import read_pickle

INCEPTION = "inception"
DISTANCES = {"lpips_vgg": "vgg", "lpips_alex": "alex"}
STANDARD = (*DISTANCES, INCEPTION)  # each has a column of its own; a model of timm comes on top


def open_nets(names: Iterable[str], device: torch.device | str) -> tuple[Nets, dict[str, str]]:
    """The nets of these names, and for each that is not to be had the reason.

    Args:
        names: Of `STANDARD`, and at most one model of timm.
        device: Where to put them.

    Raises:
        UnknownNameError: If timm has no model of such a name.
        InputError: If there are several models of timm, whose distances do not compare.
    """
    names = list(dict.fromkeys(names))
    others = [name for name in names if name not in STANDARD]
    if len(others) > 1:
        raise InputError(f"{' and '.join(others)}: one net of timm at a time, its distance has one column")
    opened, missing = {}, {}
    for name in names:
        try:
            opened[name] = _open(name).to(device)
        except (HubError, FileError) as error:
            missing[name] = str(error)
    distances = {name: net for name, net in opened.items() if name in DISTANCES}
    return Nets(distances, {name: net for name, net in opened.items() if name not in distances}), missing


def _open(name: str) -> nn.Module:
    if name in DISTANCES:
        return LPIPS(DISTANCES[name])
    return Inception() if name == INCEPTION else Pooled(name)


class Pooled(nn.Module):
    """The pooled features of a timm model, which sees images at the size, mean and deviation it was trained with.

    (B, 3, H, W) in [-1, 1] -> (B, D). Images are brought to its size by bicubic, antialiased resampling.

    Args:
        name: timm's name, such as `vit_small_patch14_dinov2.lvd142m`.
        pretrained: Whether with pretrained weights, or with random ones.

    Raises:
        UnknownNameError: If timm has no model of this name.
        HubError: If the weights cannot be had.
    """

    def __init__(self, name: str, pretrained: bool = True) -> None:
        from timm.data import resolve_model_data_config

        super().__init__()
        network = timm_model(name, pretrained, num_classes=0)
        config = resolve_model_data_config(network)
        self.size = config["input_size"][1:]
        self.network = Frozen(network)
        self.register_buffer("mean", torch.tensor(config["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        resized = F.interpolate(images.float(), size=self.size, mode="bicubic", antialias=True).clamp(-1, 1)
        return self.network(((resized + 1) / 2 - self.mean) / self.std)


class Inception(nn.Module):
    """The 2048 pooled features of the Inception network by which FID is defined, as torch-fidelity ports it.

    (B, 3, H, W) in [-1, 1] -> (B, 2048), through 8 bits.

    Args:
        path: A file of its weights; None fetches them.

    Raises:
        FileError: If torch-fidelity is not installed, or a file holds more than tensors.
        HubError: If the weights cannot be had.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        try:
            module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
        except ImportError as error:
            raise FileError(f"{INCEPTION} needs torch-fidelity: pip install 'vaezoo[eval]' ({error})") from error
        path = path or fetched(INCEPTION, lambda: _download(module.URL_INCEPTION_V3))
        read_pickle(path)  # torch-fidelity would run what a file contains; nothing but tensors gets that far
        self.network = Frozen(module.FeatureExtractorInceptionV3(INCEPTION, ["2048"], str(path)))

    def forward(self, images: Tensor) -> Tensor:
        levels = ((images.clamp(-1, 1) + 1) * 127.5 + 0.5).floor().to(torch.uint8)
        return self.network(levels)[0]


def _download(url: str) -> Path:
    """The file behind a URL, kept in torch's cache; its name ends in the beginning of its SHA-256, which is checked."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
    return path
