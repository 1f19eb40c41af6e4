"""A package from outside vaezoo, with a network, a weights record and a block, installed by hand into a folder."""

import hashlib
from pathlib import Path

MODEL, BLOCK, PACKAGE = "gated_f4_z4", "gate", "gated-zoo"
CODE = '''\
"""A gate, and the networks in the folder `configs` that use it."""

from typing import Annotated

import torch
from torch import nn

import vaezoo
from vaezoo.nn.layers import Channels
from vaezoo.specs.marks import Between


class GateBlock(vaezoo.Block):
    """A convolution, multiplied by a gate that a second one computes."""

    def __init__(self, in_channels: int, *, out: Channels, strength: Annotated[float, Between(0, 1)] = 0.5) -> None:
        super().__init__()
        self.out, self.strength = out, strength
        self.conv = nn.Conv2d(in_channels, out, 3, padding=1)
        self.gate = nn.Conv2d(in_channels, out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * (1 - self.strength + self.strength * self.gate(x).sigmoid())


vaezoo.register_block("gate", GateBlock)
'''
NETWORK = """\
summary: A tiny network with gates.
image: {channels: 3}
latent: {kind: gaussian, channels: 4}
encoder:
  - {block: conv, out: 8, kernel: 3}
  - {block: gate, out: 8}
  - {block: downsample, out: 16, resample: conv_4x4}
  - {block: downsample, out: 16, resample: conv_4x4}
  - {block: conv, out: moments, kernel: 1}
decoder:
  - {block: conv, out: 16, kernel: 3}
  - {block: upsample, out: 16, resample: conv_transpose_4x4}
  - {block: upsample, out: 8, resample: conv_transpose_4x4}
  - {block: gate, out: 8, strength: 0.25}
  - {block: conv, out: image, kernel: 3}
expect: {downscale: 4}
"""
RECORD = """\
default: demo
demo:
  summary: Weights of the package.
  source: {{file: {file}}}
  layout: native
  sha256: {sha256}
  license: mit
"""
METADATA = "Metadata-Version: 2.1\nName: gated-zoo\nVersion: 0.1\n"
ENTRY_POINTS = "[vaezoo.zoo]\ngated = gated_zoo.blocks\n"


def install(site: Path) -> Path:
    """Write package and metadata as pip installs them into `site`, which goes on PYTHONPATH; return its configs."""
    package, info = site / "gated_zoo", site / "gated_zoo-0.1.dist-info"
    configs = package / "configs"
    for folder in (configs / "models", configs / "weights", info):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "blocks.py").write_text(CODE, encoding="utf-8")
    (configs / "models" / f"{MODEL}.yaml").write_text(NETWORK, encoding="utf-8")
    (info / "METADATA").write_text(METADATA, encoding="utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    return configs


def add_weights(configs: Path) -> None:
    """Add random weights and their record; the block must be importable."""
    import vaezoo

    file = configs / "weights" / f"{MODEL}.demo.safetensors"
    vaezoo.export_checkpoint(vaezoo.create(configs / "models" / f"{MODEL}.yaml"), file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    (configs / "weights" / f"{MODEL}.yaml").write_text(RECORD.format(file=file.name, sha256=sha256), encoding="utf-8")
