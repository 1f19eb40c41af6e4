"""vaezoo: a config-driven model zoo for image VAEs.

Importing it loads nothing else: each name below is loaded on first use, and only some of them need torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vaezoo.version import __version__

if TYPE_CHECKING:
    from vaezoo.adapters.as_diffusers import as_diffusers as as_diffusers
    from vaezoo.adapters.from_diffusers import from_diffusers as from_diffusers
    from vaezoo.errors import CheckpointError as CheckpointError
    from vaezoo.errors import FileError as FileError
    from vaezoo.errors import HubError as HubError
    from vaezoo.errors import ImageError as ImageError
    from vaezoo.errors import InputError as InputError
    from vaezoo.errors import SpecError as SpecError
    from vaezoo.errors import TrainingError as TrainingError
    from vaezoo.errors import UnknownNameError as UnknownNameError
    from vaezoo.errors import VaezooError as VaezooError
    from vaezoo.inference.optimize import optimize as optimize
    from vaezoo.io.images import load_image as load_image
    from vaezoo.io.images import to_pil as to_pil
    from vaezoo.io.images import to_tensor as to_tensor
    from vaezoo.io.resize_and_pad import pad_to_multiple as pad_to_multiple
    from vaezoo.latents.bucket_sampler import BucketBatchSampler as BucketBatchSampler
    from vaezoo.latents.encode import encode_dataset as encode_dataset
    from vaezoo.latents.latent_dataset import LatentDataset as LatentDataset
    from vaezoo.nn.base import Block as Block
    from vaezoo.nn.own_blocks import register_block as register_block
    from vaezoo.nn.vae import VAE as VAE
    from vaezoo.out_of_memory import OutOfMemoryError as OutOfMemoryError
    from vaezoo.sharing.publish import push_to_hub as push_to_hub
    from vaezoo.sharing.save import save as save
    from vaezoo.specs.catalog import add_config_dir as add_config_dir
    from vaezoo.specs.listing import list_models as list_models
    from vaezoo.specs.model import ModelSpec as ModelSpec
    from vaezoo.specs.stats import LatentStats as LatentStats
    from vaezoo.weights.records import list_pretrained as list_pretrained
    from vaezoo.weights.write_checkpoint import export_checkpoint as export_checkpoint
    from vaezoo.zoo.create import create as create
    from vaezoo.zoo.create import get_spec as get_spec
    from vaezoo.zoo.create import is_model as is_model
    from vaezoo.zoo.create import load_checkpoint as load_checkpoint
    from vaezoo.zoo.describe import Description as Description
    from vaezoo.zoo.describe import describe as describe
    from vaezoo.zoo.recognize import recognize as recognize

_HOMES = {
    "Block": "nn.base",
    "BucketBatchSampler": "latents.bucket_sampler",
    "CheckpointError": "errors",
    "Description": "zoo.describe",
    "FileError": "errors",
    "HubError": "errors",
    "ImageError": "errors",
    "InputError": "errors",
    "LatentDataset": "latents.latent_dataset",
    "LatentStats": "specs.stats",
    "ModelSpec": "specs.model",
    "OutOfMemoryError": "out_of_memory",
    "SpecError": "errors",
    "TrainingError": "errors",
    "UnknownNameError": "errors",
    "VAE": "nn.vae",
    "VaezooError": "errors",
    "add_config_dir": "specs.catalog",
    "as_diffusers": "adapters.as_diffusers",
    "create": "zoo.create",
    "describe": "zoo.describe",
    "encode_dataset": "latents.encode",
    "export_checkpoint": "weights.write_checkpoint",
    "from_diffusers": "adapters.from_diffusers",
    "get_spec": "zoo.create",
    "is_model": "zoo.create",
    "list_models": "specs.listing",
    "list_pretrained": "weights.records",
    "load_checkpoint": "zoo.create",
    "load_image": "io.images",
    "optimize": "inference.optimize",
    "pad_to_multiple": "io.resize_and_pad",
    "push_to_hub": "sharing.publish",
    "recognize": "zoo.recognize",
    "register_block": "nn.own_blocks",
    "save": "sharing.save",
    "to_pil": "io.images",
    "to_tensor": "io.images",
}
_SUBPACKAGES = (
    "ablation",
    "adapters",
    "analysis",
    "benchmark",
    "data",
    "errors",
    "evaluation",
    "formats",
    "inference",
    "io",
    "jobs",
    "latents",
    "nn",
    "sharing",
    "specs",
    "training",
    "warmstart",
    "weights",
    "zoo",
)

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"vaezoo.{_HOMES[name]}"), name)
    elif name in _SUBPACKAGES:
        value = importlib.import_module(f"vaezoo.{name}")
    else:
        raise AttributeError(f"module 'vaezoo' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBPACKAGES])
