"""The networks that evaluate reconstructions, by name: LPIPS, Inception, and any model of timm."""

import importlib
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.errors import FileError, HubError, InputError
from vaezoo.evaluation.nets.frozen import Frozen, check_timm_name, download, enough_memory_to_judge, timm_model
from vaezoo.evaluation.nets.lpips import LPIPS
from vaezoo.evaluation.tally import Nets
from vaezoo.weights.pickles import read_pickle

INCEPTION = "inception"
DISTANCES = {"lpips_vgg": "vgg", "lpips_alex": "alex"}
STANDARD = (*DISTANCES, INCEPTION)  # each has its own column of results, and one model of timm may be added


def open_nets(names: Iterable[str], device: torch.device | str) -> tuple[Nets, dict[str, str]]:
    """Load networks by name.

    Args:
        names: Names in `STANDARD`, and at most one model of timm.
        device: Device to load them to.

    Returns:
        The networks, and the reason for each name that is unavailable.

    Raises:
        UnknownNameError: If timm has no model of this name.
        InputError: If there is more than one model of timm.
    """
    names = check_nets(names)
    opened: dict[str, nn.Module] = {}
    unavailable: dict[str, str] = {}
    for name in names:
        try:
            opened[name] = _open(name).to(device)
        except (HubError, FileError) as error:
            unavailable[name] = str(error)
    distances = {name: net for name, net in opened.items() if name in DISTANCES}
    return Nets(distances, {name: net for name, net in opened.items() if name not in distances}), unavailable


def check_nets(names: Iterable[str]) -> list[str]:
    """Check names of networks without loading any, and return each once; the errors are those of `open_nets`."""
    names = list(dict.fromkeys(names))
    others = [name for name in names if name not in STANDARD]
    if len(others) > 1:
        raise InputError(f"{' and '.join(others)}: expected at most one model of timm; evaluate them one at a time")
    for name in others:
        check_timm_name(name, STANDARD)
    return names


def _open(name: str) -> nn.Module:
    if name in DISTANCES:
        return LPIPS(DISTANCES[name])
    return Inception() if name == INCEPTION else Pooled(name)


class Pooled(nn.Module):
    """Pooled features of a timm model, with the image size and normalization it was trained with.

    (B, 3, H, W) in [-1, 1] -> (B, D). Images are resized by antialiased bicubic interpolation.

    Args:
        name: Name of the model in timm, such as `vit_small_patch14_dinov2.lvd142m`.
        pretrained: Whether to load pretrained weights instead of random ones.

    Raises:
        UnknownNameError: If timm has no model of this name.
        HubError: If the weights are not in the cache and cannot be downloaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, pretrained: bool = True) -> None:
        from timm.data import resolve_model_data_config

        super().__init__()
        network = timm_model(name, pretrained, num_classes=0)
        config = resolve_model_data_config(network)
        self.name, self.size = name, config["input_size"][1:]
        self.network = Frozen(network)
        self.register_buffer("mean", torch.tensor(config["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images (B, 3, H, W) in [-1, 1], of shape (B, D)."""
        with enough_memory_to_judge(images, self.name):
            resized = F.interpolate(images.float(), size=self.size, mode="bicubic", antialias=True).clamp(-1, 1)
            features: Tensor = self.network(((resized + 1) / 2 - self.mean) / self.std)
        return features


class Inception(nn.Module):
    """The 2048 pooled features of the Inception network that defines FID, as ported by torch-fidelity.

    (B, 3, H, W) in [-1, 1] -> (B, 2048). Images are rounded to 8 bits first.

    Args:
        path: File of the weights; `None` downloads them.

    Raises:
        FileError: If torch-fidelity is not installed, or the file holds more than tensors.
        HubError: If the weights are not in the cache and cannot be downloaded.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        try:
            module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
        except ImportError as error:
            raise FileError(f"{INCEPTION} needs torch-fidelity: pip install 'vaezoo[eval]' ({error})") from error
        path = path or download(INCEPTION, lambda: _download(module.URL_INCEPTION_V3))
        read_pickle(path)  # refuses all but tensors; torch-fidelity would run any code in the file
        self.network = Frozen(module.FeatureExtractorInceptionV3(INCEPTION, ["2048"], str(path)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images (B, 3, H, W) in [-1, 1], of shape (B, 2048)."""
        with enough_memory_to_judge(images, INCEPTION):
            levels = ((images.clamp(-1, 1) + 1) * 127.5 + 0.5).floor().to(torch.uint8)
            features: Tensor = self.network(levels)[0]
        return features


def _download(url: str) -> Path:
    """Download a URL to torch's cache, and check the start of its SHA-256, with which the file name ends."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
    return path
