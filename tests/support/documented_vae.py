"""The documented VAE in plain PyTorch, an oracle for tests written only from its description
(the documented VAE, docs/design.md of this project; checkpoint names of explainingai-code/StableDiffusion-PyTorch)."""

from itertools import pairwise

import torch
from torch import nn


def norm_silu_conv(in_channels, out_channels, norm_channels):
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=1, padding=1)
    return nn.Sequential(nn.GroupNorm(norm_channels, in_channels), nn.SiLU(), conv)


class ResidualLayers(nn.Module):
    """`count` residual layers, each with a 1x1 convolution as its shortcut; the first one changes the channels."""

    def __init__(self, in_channels, out_channels, count, norm_channels):
        super().__init__()
        inputs = [in_channels] + [out_channels] * (count - 1)
        self.resnet_conv_first = nn.ModuleList(norm_silu_conv(c, out_channels, norm_channels) for c in inputs)
        self.resnet_conv_second = nn.ModuleList(
            norm_silu_conv(out_channels, out_channels, norm_channels) for _ in inputs
        )
        self.residual_input_conv = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in inputs)

    def residual(self, i, x):
        return self.resnet_conv_second[i](self.resnet_conv_first[i](x)) + self.residual_input_conv[i](x)

    def residuals(self, x):
        for i in range(len(self.resnet_conv_first)):
            x = self.residual(i, x)
        return x


class DownBlock(ResidualLayers):
    def __init__(self, in_channels, out_channels, down_sample, num_layers, norm_channels):
        super().__init__(in_channels, out_channels, num_layers, norm_channels)
        conv = nn.Conv2d(out_channels, out_channels, 4, stride=2, padding=1) if down_sample else nn.Identity()
        self.down_sample_conv = conv

    def forward(self, x):
        return self.down_sample_conv(self.residuals(x))


class MidBlock(ResidualLayers):
    def __init__(self, in_channels, out_channels, num_heads, num_layers, norm_channels):
        super().__init__(in_channels, out_channels, num_layers + 1, norm_channels)
        self.attention_norms = nn.ModuleList(nn.GroupNorm(norm_channels, out_channels) for _ in range(num_layers))
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(out_channels, num_heads, batch_first=True) for _ in range(num_layers)
        )

    def attend(self, i, x):
        tokens = self.attention_norms[i](x.flatten(2)).transpose(1, 2)
        attended, _ = self.attentions[i](tokens, tokens, tokens, need_weights=False)
        return x + attended.transpose(1, 2).reshape(x.shape)

    def forward(self, x):
        x = self.residual(0, x)
        for i in range(len(self.attentions)):
            x = self.residual(i + 1, self.attend(i, x))
        return x


class UpBlock(ResidualLayers):
    def __init__(self, in_channels, out_channels, up_sample, num_layers, norm_channels):
        super().__init__(in_channels, out_channels, num_layers, norm_channels)
        conv = nn.ConvTranspose2d(in_channels, in_channels, 4, stride=2, padding=1) if up_sample else nn.Identity()
        self.up_sample_conv = conv

    def forward(self, x):
        return self.residuals(self.up_sample_conv(x))


class DocumentedVAE(nn.Module):
    """Defaults are the documented network: `mid_channels` None is one MidBlock of the last of `down_channels`,
    `down_sample` None is True on every level; the decoder mirrors the encoder, its last level first."""

    def __init__(
        self,
        down_channels=(64, 128, 256, 256),
        mid_channels=None,
        z_channels=4,
        num_heads=4,
        num_layers=2,
        norm_channels=32,
        down_sample=None,
        image_channels=3,
    ):
        super().__init__()
        down = list(down_channels)
        mid = [down[-1]] * 2 if mid_channels is None else list(mid_channels)
        flags = [True] * (len(down) - 1) if down_sample is None else list(down_sample)
        if mid[0] != down[-1] or len(mid) < 2 or not len(down) - 1 == len(flags) > 0:
            raise ValueError(f"channels or flags do not fit together: {down=}, {mid=}, down_sample={flags}")
        self.levels, self.mids = len(flags), len(mid) - 1
        levels, mids = list(zip(pairwise(down), flags, strict=True)), list(pairwise(mid))
        self.add_encoder(image_channels, levels, mids, z_channels, num_heads, num_layers, norm_channels)
        self.add_decoder(image_channels, levels, mids, z_channels, num_heads, num_layers, norm_channels)

    def add_encoder(self, image_channels, levels, mids, z_channels, num_heads, num_layers, norm_channels):
        first, last = levels[0][0][0], mids[-1][1]
        self.encoder_conv_in = nn.Conv2d(image_channels, first, 3, padding=1)
        for i, ((a, b), flag) in enumerate(levels):
            self.add_module(f"encoder_layers_{i}", DownBlock(a, b, flag, num_layers, norm_channels))
        for i, (a, b) in enumerate(mids):
            self.add_module(f"encoder_mids_{i}", MidBlock(a, b, num_heads, num_layers, norm_channels))
        self.encoder_norm_out = nn.GroupNorm(norm_channels, last)
        self.encoder_conv_out = nn.Conv2d(last, 2 * z_channels, 3, padding=1)
        self.pre_quant_conv = nn.Conv2d(2 * z_channels, 2 * z_channels, 1)

    def add_decoder(self, image_channels, levels, mids, z_channels, num_heads, num_layers, norm_channels):
        first, last = levels[0][0][0], mids[-1][1]
        self.post_quant_conv = nn.Conv2d(z_channels, z_channels, 1)
        self.decoder_conv_in = nn.Conv2d(z_channels, last, 3, padding=1)
        for i, (a, b) in enumerate(reversed(mids)):
            self.add_module(f"decoder_mids_{i}", MidBlock(b, a, num_heads, num_layers, norm_channels))
        for i, ((a, b), flag) in enumerate(reversed(levels)):
            self.add_module(f"decoder_layers_{i}", UpBlock(b, a, flag, num_layers, norm_channels))
        self.decoder_norm_out = nn.GroupNorm(norm_channels, first)
        self.decoder_conv_out = nn.Conv2d(first, image_channels, 3, padding=1)

    def run(self, prefix, count, x):
        for i in range(count):
            x = self.get_submodule(f"{prefix}_{i}")(x)
        return x

    def encode(self, images):
        """The raw moments, mean and log-variance along the channels: neither sampled nor clamped."""
        x = self.run("encoder_layers", self.levels, self.encoder_conv_in(images))
        x = self.encoder_norm_out(self.run("encoder_mids", self.mids, x))
        return self.pre_quant_conv(self.encoder_conv_out(nn.functional.silu(x)))

    def decode(self, z):
        x = self.run("decoder_mids", self.mids, self.decoder_conv_in(self.post_quant_conv(z)))
        x = self.decoder_norm_out(self.run("decoder_layers", self.levels, x))
        return self.decoder_conv_out(nn.functional.silu(x))

    def forward(self, images):
        """The reconstruction from the posterior mean, and the raw moments."""
        moments = self.encode(images)
        mean, _ = torch.chunk(moments, 2, dim=1)
        return self.decode(mean), moments
