"""A model with the interface of diffusers' `AutoencoderKL`, for its pipelines."""

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.adapters.outputs import DecoderOutput, DiffusersConfig, EncoderOutput, LatentDistribution
from vaezoo.errors import InputError
from vaezoo.inference.executor import strips_by_memory
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.specs.stats import LatentStats

PACK = 2  # of Flux2Pipeline, the only pipeline that packs latents before it normalizes them


class DiffusersVAE(nn.Module):
    """A model with the interface of diffusers' `AutoencoderKL`; see `as_diffusers`.

    `encode` and `decode` return named tuples, so `return_dict` has no effect: `decode(z)[0]` is `decode(z).sample`.

    Args:
        vae: The model, with known latent statistics.
    """

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        stats = known_stats(vae)
        self.config = _config(vae, stats)
        self.vae = vae
        self.use_slicing = self.use_tiling = False
        self._untiled = vae.executor
        if stats.pack:
            self.bn = _batch_norm(stats, vae.latent_channels, self.config.batch_norm_eps, vae.device)
        self.train(vae.training)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.vae.device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point dtype of the weights."""
        return self.vae.dtype

    @property
    def spatial_compression_ratio(self) -> int:
        """Pixels per latent pixel, per side."""
        return self.vae.downscale

    @property
    def post_quant_conv(self) -> nn.Module:
        """The decoder: pipelines that decode in float32 look up the dtype of the parameters of this module."""
        return self.vae.decoder

    def encode(self, x: Tensor, return_dict: bool = True) -> EncoderOutput:
        """Encode images.

        Args:
            x: Images of shape (B, C, H, W), values in [-1, 1].
            return_dict: Has no effect.

        Returns:
            The distribution over raw latents as `latent_dist`; for deterministic networks also `latents`.

        Raises:
            InputError: If `VAE.encode` does not accept the images.
        """
        self._bring_back()
        posteriors = [self.vae.encode(batch) for batch in self._batches(x)]
        moments = torch.cat([posterior.moments for posterior in posteriors]).to(self.dtype)
        return EncoderOutput(LatentDistribution(type(posteriors[0])(moments)))

    def decode(self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None) -> DecoderOutput:
        """Decode latents.

        Args:
            z: Raw latents of shape (B, z, h, w).
            return_dict: Has no effect.
            generator: Has no effect.

        Returns:
            Images of shape (B, C, H, W), about [-1, 1] and not clamped, as `sample`.

        Raises:
            InputError: If `VAE.decode` does not accept the latents.
        """
        self._bring_back()
        return DecoderOutput(torch.cat([self.vae.decode(batch) for batch in self._batches(z)]).to(self.dtype))

    def forward(
        self,
        sample: Tensor,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: torch.Generator | None = None,
    ) -> DecoderOutput:
        """Encode images and decode the mode of the posterior, or a sample of it.

        Args:
            sample: Images of shape (B, C, H, W), values in [-1, 1].
            sample_posterior: Whether to decode a sample instead of the mode.
            return_dict: Has no effect.
            generator: Random generator for the sample; `None` means PyTorch's default generator.
        """
        latents = self.encode(sample).latent_dist
        return self.decode(latents.sample(generator) if sample_posterior else latents.mode())

    def enable_slicing(self) -> None:
        """Encode and decode one image at a time, which needs less memory."""
        self.use_slicing = True

    def disable_slicing(self) -> None:
        """Encode and decode the whole batch at once."""
        self.use_slicing = False

    def enable_tiling(self) -> None:
        """Encode and decode in strips chosen by the free memory, as `vaezoo.optimize(vae, tile="auto")` does.

        Unlike the blended tiles of diffusers, strips give the result of the whole image.
        """
        self.use_tiling, self.vae.executor = True, strips_by_memory(self.vae)

    def disable_tiling(self) -> None:
        """Encode and decode as before `enable_tiling`."""
        self.use_tiling, self.vae.executor = False, self._untiled

    def register_to_config(self, **entries: Any) -> None:
        """Set entries of `config`, such as `force_upcast=False`."""
        self.config.update(entries)

    def _batches(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split(1) if self.use_slicing else (x,)

    def _bring_back(self) -> None:
        """Run the hook that `forward` would run, which brings the weights of an offloaded model to the GPU."""
        hook: Any = getattr(self, "_hf_hook", None)
        if hasattr(hook, "pre_forward"):
            hook.pre_forward(self)


def as_diffusers(vae: VAE) -> DiffusersVAE:
    """Give a model the interface of diffusers' `AutoencoderKL`, for its image pipelines.

    The result holds `vae` itself, not a copy, and does not import diffusers. Latents are raw, as diffusers expects: the
    pipeline normalizes them by the entries of `config`. The latent statistics become

    - `scale` and `shift`: `scaling_factor` and `shift_factor`, which all pipelines read,
    - `mean` and `std`: `latents_mean`, `latents_std` and `scaling_factor` (1 without a `scale`), which the SDXL
      pipelines read; those of Stable Diffusion 1 and 2 read `scaling_factor` only,
    - packed statistics: `bn` and `batch_norm_eps`, which the FLUX.2 pipelines read, without a `scaling_factor`.

    `config` is computed once: after setting other statistics on `vae`, make a new adapter. `force_upcast` is `True` as
    in diffusers: pipelines that read it decode float16 weights in float32.

    Args:
        vae: The model, with known latent statistics.

    Raises:
        InputError: If the latent statistics are unknown, or pipelines cannot express the packing or downscale.

    Examples:
        >>> import torch, vaezoo
        >>> vae = vaezoo.as_diffusers(vaezoo.create("vae_f8_z4_micro", pretrained=True))
        >>> vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mode().shape
        torch.Size([1, 4, 8, 8])
        >>> vae.config.latent_channels
        4

    Source: the interface of huggingface/diffusers `models/autoencoders/autoencoder_kl.py`.
    """
    vae = unwrapped(vae)
    if not isinstance(vae, VAE):
        raise InputError(f"as_diffusers: expected a VAE as vaezoo.create gives, not {type(vae).__name__}")
    return DiffusersVAE(vae)


def _config(vae: VAE, stats: LatentStats) -> DiffusersConfig:
    widths = _widths(vae)
    return DiffusersConfig(
        in_channels=vae.spec.image.channels,
        out_channels=vae.spec.image.channels,
        latent_channels=vae.latent_channels,
        block_out_channels=widths,
        encoder_block_out_channels=widths,
        spatial_compression_ratio=vae.downscale,
        sample_size=64 * vae.downscale,  # diffusers wants one, a convolutional network has none
        force_upcast=True,
        **_normalization(vae, stats),
    )


def _widths(vae: VAE) -> tuple[int, ...]:
    """Channels of the encoder at full size, half, quarter…; pipelines compute the downscale from their number."""
    levels = vae.downscale.bit_length()
    if vae.downscale != 2 ** (levels - 1):
        text = f"has {vae.downscale} pixels per latent pixel; pipelines of diffusers support powers of two only"
        raise InputError(f"{vae.spec.label} {text}")
    widths, scale = [0] * levels, Fraction(1)
    for block in vae.encoder:
        level = int(1 / scale).bit_length() - 1
        widths[level] = max(widths[level], block.out)
        scale *= block.scale
    # a row that divides by 4 or more leaves levels without a row
    return tuple(width or max(widths[: level + 1]) for level, width in enumerate(widths))


def known_stats(vae: VAE) -> LatentStats:
    """The latent statistics; raises `InputError` if unknown, because diffusers would use defaults instead."""
    if vae.latent_stats is None:
        raise InputError(
            f"{vae.spec.label}: diffusers needs the latent statistics, which are unknown: {vae.statistics_remedy}; "
            "vaezoo.LatentStats(scale=1.0) leaves latents as they are"
        )
    return vae.latent_stats


def _normalization(vae: VAE, stats: LatentStats) -> dict[str, Any]:
    """The entries by which pipelines normalize latents."""
    if stats.pack:
        if stats.pack != PACK:
            raise InputError(
                f"{vae.spec.label}: latents are packed by {stats.pack}; pipelines of diffusers pack by {PACK}"
            )
        plain = stats.var is not None and stats.scale is None
        return {"batch_norm_eps": stats.eps if plain else 0.0}
    scale = 1.0 if stats.scale is None else stats.scale
    if stats.mean is None:
        shift = stats.shift or 0.0
        return {"scaling_factor": scale, "shift_factor": shift, "latents_mean": None, "latents_std": None}
    std = [scale / gain for gain in stats.gain]
    return {"scaling_factor": scale, "shift_factor": None, "latents_mean": list(stats.mean), "latents_std": std}


def _batch_norm(stats: LatentStats, channels: int, eps: float, device: torch.device) -> nn.BatchNorm2d:
    """A batch norm whose running statistics are those of packed latents, of which there may be one for all channels."""
    packed = channels * (stats.pack or 1) ** 2
    bn = nn.BatchNorm2d(packed, eps=eps, affine=False, device=device)
    variance = stats.var if eps and stats.var else [math.pow(gain, -2) for gain in stats.gain]
    mean, var = torch.tensor(stats.offset).expand(packed), torch.tensor(variance).expand(packed)
    state = {"running_mean": mean, "running_var": var}
    bn.load_state_dict({**bn.state_dict(), **state})
    return bn
