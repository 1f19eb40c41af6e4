"""Small random models of diffusers, one of each class that the zoo can follow."""

import random

import diffusers
import torch
from diffusers_small import SMALL
from small import randomised, small_spec

from vaezoo.weights.diffusers.configs import config_from_spec

PLAIN = {  # where the random configs hold what the layout of the weights does not
    "AutoencoderKL": {"act_fn": "silu"},
    "AutoencoderDC": config_from_spec(small_spec("dcae_f32_z32")),
}


def tiny_module(name: str) -> torch.nn.Module:
    """A small random model of diffusers."""
    cls = getattr(diffusers, name)
    config = {"_class_name": name, **SMALL[name](random.Random(f"{name} 0")), **PLAIN.get(name, {})}
    return randomised(cls.from_config(config)).eval()
