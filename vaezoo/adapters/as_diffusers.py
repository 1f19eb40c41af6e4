"""A zoo network with the interface of diffusers' `AutoencoderKL`, for its pipelines."""

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.adapters.outputs import Config, DecoderOutput, EncoderOutput, LatentDistribution
from vaezoo.errors import InputError
from vaezoo.nn.vae import VAE
from vaezoo.specs.stats import LatentStats

PACK = 2  # what Flux2Pipeline packs by, the only one that packs latents before it normalises them


class DiffusersVAE(nn.Module):
    """What `as_diffusers` gives: `vae` under the names that diffusers' pipelines use.

    `encode` and `decode` give tuples with names, so `return_dict` changes nothing: `decode(z)[0]` is
    `decode(z).sample`.
    """

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.config = _config(vae)
        self.vae = vae
        self.use_slicing = self.use_tiling = False
        if vae.latent_stats.pack:
            self.bn = _batch_norm(vae.latent_stats, self.config.batch_norm_eps, vae.device)
        self.train(vae.training)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.vae.device

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the weights."""
        return self.vae.dtype

    @property
    def spatial_compression_ratio(self) -> int:
        """Pixels per latent pixel and side."""
        return self.vae.downscale

    @property
    def post_quant_conv(self) -> nn.Module:
        """The module that takes the latents: pipelines that decode in float32 ask for the dtype of its parameters."""
        return self.vae.decoder

    def encode(self, x: Tensor, return_dict: bool = True) -> EncoderOutput:
        """Images (B, C, H, W) in [-1, 1] to `latent_dist` over raw latents; of deterministic networks also `latents`.

        Raises:
            InputError: As `VAE.encode`.
        """
        self._come_back()
        posteriors = [self.vae.encode(part) for part in self._parts(x)]
        moments = torch.cat([posterior.moments for posterior in posteriors])
        return EncoderOutput(LatentDistribution(type(posteriors[0])(moments)))

    def decode(self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None) -> DecoderOutput:
        """Raw latents (B, z, h, w) to images as `sample`, not clamped; nothing is drawn from the generator.

        Raises:
            InputError: As `VAE.decode`.
        """
        self._come_back()
        return DecoderOutput(torch.cat([self.vae.decode(part) for part in self._parts(z)]))

    def forward(
        self,
        sample: Tensor,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: torch.Generator | None = None,
    ) -> DecoderOutput:
        """Encode images and decode a sample of the posterior, or its mode."""
        latents = self.encode(sample).latent_dist
        return self.decode(latents.sample(generator) if sample_posterior else latents.mode())

    def enable_slicing(self) -> None:
        """Encode and decode one image at a time: less memory."""
        self.use_slicing = True

    def disable_slicing(self) -> None:
        """Encode and decode a batch at once."""
        self.use_slicing = False

    def enable_tiling(self) -> None:
        """Always an `InputError`: norms over the whole image make a tile another image."""
        raise InputError(
            f"{self.vae.spec.label}: tiling is not exact and not offered; enable_slicing() saves memory in batches, "
            "a dtype of torch.bfloat16 always"
        )

    def disable_tiling(self) -> None:
        """Nothing to do: tiling is never on."""

    def register_to_config(self, **entries: Any) -> None:
        """Set entries of `config`, such as `force_upcast=False`."""
        self.config.update(entries)

    def _parts(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split(1) if self.use_slicing else (x,)

    def _come_back(self) -> None:
        """Where a pipeline offloads models, the hook that `forward` would run: it brings the weights to the GPU."""
        hook = getattr(self, "_hf_hook", None)
        if hasattr(hook, "pre_forward"):
            hook.pre_forward(self)


def as_diffusers(vae: VAE) -> DiffusersVAE:
    """A network of the zoo as an object with the interface of diffusers' `AutoencoderKL`, for its image pipelines.

    It holds `vae` itself, no copy, and needs no diffusers. Latents are raw, as diffusers wants them: the pipeline
    normalises them by what it finds in `config`.

    - `scale` and `shift`: `scaling_factor` and `shift_factor`, which all pipelines read.
    - `mean` and `std`: `latents_mean`, `latents_std` and a `scaling_factor` (1 unless `scale` says otherwise), which
      the SDXL pipelines read. Pipelines of Stable Diffusion 1 and 2 read `scaling_factor` only.
    - packed: `bn` and `batch_norm_eps`, which the FLUX.2 pipelines read; there is no `scaling_factor`.

    `config` is made once: statistics that are set on `vae` later need a new adapter. `force_upcast` is True as in
    diffusers: pipelines that look at it decode float16 weights in float32.

    Args:
        vae: The network, with latent statistics.

    Raises:
        InputError: If its latent statistics are not known, or pipelines cannot express its packing or downscale.

    Source: the interface of huggingface/diffusers `models/autoencoders/autoencoder_kl.py`.
    """
    if not isinstance(vae, VAE):
        raise InputError(f"as_diffusers: expected a VAE as vaezoo.create gives, not {type(vae).__name__}")
    return DiffusersVAE(vae)


def _config(vae: VAE) -> Config:
    widths = _widths(vae)
    return Config(
        in_channels=vae.spec.image.channels,
        out_channels=vae.spec.image.channels,
        latent_channels=vae.latent_channels,
        block_out_channels=widths,
        encoder_block_out_channels=widths,
        spatial_compression_ratio=vae.downscale,
        sample_size=64 * vae.downscale,  # a convolutional network has none of its own
        force_upcast=True,
        **_normalisation(vae),
    )


def _widths(vae: VAE) -> tuple[int, ...]:
    """Channels of the encoder at full size, half, quarter…; pipelines know the downscale by how many there are."""
    levels = vae.downscale.bit_length()
    if vae.downscale != 2 ** (levels - 1):
        text = f"has {vae.downscale} pixels per latent pixel; pipelines of diffusers know powers of two only"
        raise InputError(f"{vae.spec.label} {text}")
    widths, scale = [0] * levels, Fraction(1)
    for block in vae.encoder:
        level = int(1 / scale).bit_length() - 1
        widths[level] = max(widths[level], block.out)
        scale *= block.scale
    # a row that divides by 4 or more leaves levels without rows
    return tuple(width or max(widths[: level + 1]) for level, width in enumerate(widths))


def known_stats(vae: VAE) -> LatentStats:
    """The latent statistics, without which diffusers would take its own defaults for them, or an `InputError`."""
    if vae.latent_stats is None:
        raise InputError(
            f"{vae.spec.label}: diffusers needs the latent statistics, which are not known: {vae.statistics_remedy}; "
            "vaezoo.LatentStats(scale=1.0) leaves latents as they are"
        )
    return vae.latent_stats


def _normalisation(vae: VAE) -> dict[str, Any]:
    """The entries by which pipelines normalise latents."""
    stats = known_stats(vae)
    if stats.pack:
        if stats.pack != PACK:
            raise InputError(f"{vae.spec.label}: latents are packed by {stats.pack}; pipelines of diffusers by {PACK}")
        plain = stats.var is not None and stats.scale is None
        return {"batch_norm_eps": stats.eps if plain else 0.0}
    scale = 1.0 if stats.scale is None else stats.scale
    if stats.mean is None:
        shift = stats.shift or 0.0
        return {"scaling_factor": scale, "shift_factor": shift, "latents_mean": None, "latents_std": None}
    std = [scale / gain for gain in stats.gain]
    return {"scaling_factor": scale, "shift_factor": None, "latents_mean": list(stats.mean), "latents_std": std}


def _batch_norm(stats: LatentStats, eps: float, device: torch.device) -> nn.BatchNorm2d:
    """A batch norm whose running statistics are those of packed latents."""
    bn = nn.BatchNorm2d(len(stats.gain), eps=eps, affine=False, device=device)
    bn.running_mean.copy_(torch.tensor(stats.offset))
    bn.running_var.copy_(torch.tensor(stats.var if eps else [math.pow(gain, -2) for gain in stats.gain]))
    return bn
