"""The documented VAE in plain PyTorch, as its description builds it: the peer `documented` of the benchmark.

It was written from the description alone, with the tensor names of the layout `documented`, and shares no code with
`vaezoo.nn`. Tests therefore use it to verify the networks of this layout.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def _norm_silu_conv(in_channels: int, out_channels: int, norm_channels: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=1, padding=1)
    return nn.Sequential(nn.GroupNorm(norm_channels, in_channels), nn.SiLU(), conv)


class _ResidualLayers(nn.Module):
    """`count` residual layers, each with a 1x1 convolution as its shortcut; the first one changes the channels."""

    def __init__(self, in_channels: int, out_channels: int, count: int, norm_channels: int) -> None:
        super().__init__()
        inputs = [in_channels] + [out_channels] * (count - 1)
        self.resnet_conv_first = nn.ModuleList(_norm_silu_conv(c, out_channels, norm_channels) for c in inputs)
        self.resnet_conv_second = nn.ModuleList(
            _norm_silu_conv(out_channels, out_channels, norm_channels) for _ in inputs
        )
        self.residual_input_conv = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in inputs)

    def residual(self, i: int, x: Tensor) -> Tensor:
        out: Tensor = self.resnet_conv_second[i](self.resnet_conv_first[i](x)) + self.residual_input_conv[i](x)
        return out

    def residuals(self, x: Tensor) -> Tensor:
        for i in range(len(self.resnet_conv_first)):
            x = self.residual(i, x)
        return x


class _DownBlock(_ResidualLayers):
    def __init__(self, in_channels: int, out_channels: int, down: bool, num_layers: int, norm_channels: int) -> None:
        super().__init__(in_channels, out_channels, num_layers, norm_channels)
        conv = nn.Conv2d(out_channels, out_channels, 4, stride=2, padding=1) if down else nn.Identity()
        self.down_sample_conv = conv

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_sample_conv(self.residuals(x))
        return out


class _MidBlock(_ResidualLayers):
    def __init__(
        self, in_channels: int, out_channels: int, num_heads: int, num_layers: int, norm_channels: int
    ) -> None:
        super().__init__(in_channels, out_channels, num_layers + 1, norm_channels)
        self.attention_norms = nn.ModuleList(nn.GroupNorm(norm_channels, out_channels) for _ in range(num_layers))
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(out_channels, num_heads, batch_first=True) for _ in range(num_layers)
        )

    def attend(self, i: int, x: Tensor) -> Tensor:
        tokens = self.attention_norms[i](x.flatten(2)).transpose(1, 2)
        attended, _ = self.attentions[i](tokens, tokens, tokens, need_weights=False)
        out: Tensor = x + attended.transpose(1, 2).reshape(x.shape)
        return out

    def forward(self, x: Tensor) -> Tensor:
        x = self.residual(0, x)
        for i in range(len(self.attentions)):
            x = self.residual(i + 1, self.attend(i, x))
        return x


class _UpBlock(_ResidualLayers):
    def __init__(self, in_channels: int, out_channels: int, up: bool, num_layers: int, norm_channels: int) -> None:
        super().__init__(in_channels, out_channels, num_layers, norm_channels)
        conv = nn.ConvTranspose2d(in_channels, in_channels, 4, stride=2, padding=1) if up else nn.Identity()
        self.up_sample_conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return self.residuals(self.up_sample_conv(x))


class DocumentedVAE(nn.Module):
    """The documented network; the decoder mirrors the encoder, its last level first.

    Args:
        down_channels: Channels of the input of the first level, and of the output of each level.
        mid_channels: Channels of the input of the first mid block, and of the output of each; `None` is one mid block
            with the last of `down_channels`.
        z_channels: Latent channels.
        num_heads: Heads of attention.
        num_layers: Residual layers of a level; a mid block has as many attentions and one residual layer more.
        norm_channels: Groups of the group norms.
        down_sample: Whether each level changes the size; `None` means that all do.
        image_channels: Channels of images.

    Raises:
        ValueError: If channels or flags do not fit together.
    """

    def __init__(
        self,
        down_channels: Sequence[int] = (64, 128, 256, 256),
        mid_channels: Sequence[int] | None = None,
        z_channels: int = 4,
        num_heads: int = 4,
        num_layers: int = 2,
        norm_channels: int = 32,
        down_sample: Sequence[bool] | None = None,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        down = list(down_channels)
        mid = [down[-1]] * 2 if mid_channels is None else list(mid_channels)
        flags = [True] * (len(down) - 1) if down_sample is None else list(down_sample)
        if mid[0] != down[-1] or len(mid) < 2 or not len(down) - 1 == len(flags) > 0:
            raise ValueError(f"channels or flags do not fit together: {down=}, {mid=}, down_sample={flags}")
        self.levels, self.mids = len(flags), len(mid) - 1
        first, last, norm = down[0], mid[-1], norm_channels
        self.encoder_conv_in = nn.Conv2d(image_channels, first, 3, padding=1)
        for i, (a, b) in enumerate(pairwise(down)):
            self.add_module(f"encoder_layers_{i}", _DownBlock(a, b, flags[i], num_layers, norm))
        for i, (a, b) in enumerate(pairwise(mid)):
            self.add_module(f"encoder_mids_{i}", _MidBlock(a, b, num_heads, num_layers, norm))
        self.encoder_norm_out = nn.GroupNorm(norm, last)
        self.encoder_conv_out = nn.Conv2d(last, 2 * z_channels, 3, padding=1)
        self.pre_quant_conv = nn.Conv2d(2 * z_channels, 2 * z_channels, 1)
        self.post_quant_conv = nn.Conv2d(z_channels, z_channels, 1)
        self.decoder_conv_in = nn.Conv2d(z_channels, last, 3, padding=1)
        for i, (a, b) in enumerate(pairwise(reversed(mid))):
            self.add_module(f"decoder_mids_{i}", _MidBlock(a, b, num_heads, num_layers, norm))
        for i, (a, b) in enumerate(pairwise(reversed(down))):
            self.add_module(f"decoder_layers_{i}", _UpBlock(a, b, flags[-1 - i], num_layers, norm))
        self.decoder_norm_out = nn.GroupNorm(norm, first)
        self.decoder_conv_out = nn.Conv2d(first, image_channels, 3, padding=1)

    def _run(self, prefix: str, count: int, x: Tensor) -> Tensor:
        for i in range(count):
            x = self.get_submodule(f"{prefix}_{i}")(x)
        return x

    def encode(self, images: Tensor) -> Tensor:
        """Encode images to moments, mean and log-variance along the channels: neither sampled nor clamped."""
        x = self._run("encoder_layers", self.levels, self.encoder_conv_in(images))
        x = self.encoder_norm_out(self._run("encoder_mids", self.mids, x))
        moments: Tensor = self.pre_quant_conv(self.encoder_conv_out(nn.functional.silu(x)))
        return moments

    def decode(self, z: Tensor) -> Tensor:
        """Decode latents to images."""
        x = self._run("decoder_mids", self.mids, self.decoder_conv_in(self.post_quant_conv(z)))
        x = self.decoder_norm_out(self._run("decoder_layers", self.levels, x))
        images: Tensor = self.decoder_conv_out(nn.functional.silu(x))
        return images

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The reconstruction from the posterior mean, and the moments."""
        moments = self.encode(images)
        mean, _ = torch.chunk(moments, 2, dim=1)
        return self.decode(mean), moments
