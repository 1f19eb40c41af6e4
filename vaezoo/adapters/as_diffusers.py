"""A model with the interface of diffusers' `AutoencoderKL`, for its pipelines."""

import functools
import importlib.util
import os
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.adapters.diffusers_export import diffusers_config, save_export
from vaezoo.adapters.outputs import DecoderOutput, EncoderOutput, LatentDistribution
from vaezoo.adapters.pipeline_config import batch_norm, known_stats, pipeline_config
from vaezoo.errors import CheckpointError, InputError
from vaezoo.formats.diffusers.classes import CLASS_KEY
from vaezoo.inference.executor import strips_by_memory
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE


class DiffusersVAE(nn.Module):
    """A model with the interface of diffusers' `AutoencoderKL`; see `as_diffusers`.

    `encode` and `decode` return named tuples, so `return_dict` has no effect: `decode(z)[0]` is `decode(z).sample`.

    Args:
        vae: The model, with known latent statistics.
    """

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        stats = known_stats(vae)
        self.config = pipeline_config(vae, stats)
        self._changes: dict[str, Any] = {}
        self.vae = vae
        self.use_slicing = self.use_tiling = False
        self._untiled = vae.executor
        if stats.pack:
            self.bn = batch_norm(stats, vae.latent_channels, self.config.batch_norm_eps, vae.device)
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
        self._changes.update(entries)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], safe_serialization: bool = True, variant: str | None = None
    ) -> None:
        """Save the model as the class of diffusers that can express it; `save_pretrained` of a pipeline calls this.

        Entries that `register_to_config` has set are saved with it.

        Args:
            save_directory: Folder for `config.json` and `diffusion_pytorch_model.safetensors`, created if it does not
                exist.
            safe_serialization: Must be `True`, because vaezoo writes no pickles.
            variant: Part of the name of the weights, such as "fp16"; `None` leaves it out.

        Raises:
            CheckpointError: If no class of diffusers can express the network or its latent statistics; the text names
                the most similar class and the first difference, and nothing is written.
            InputError: If `safe_serialization` is `False`, or `vaezoo.optimize` has cast the weights.
            FileError: If the folder cannot be written.
        """
        if not safe_serialization:
            raise InputError("vaezoo writes safetensors, not pickles: leave out safe_serialization=False")
        save_export(self.vae, save_directory, self._changes, variant)

    def __reduce__(self) -> tuple[Any, ...]:  # the class may have been made by `_pipeline_class`
        return as_diffusers, (self.vae,), self.__dict__

    def _batches(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split(1) if self.use_slicing else (x,)

    def _bring_back(self) -> None:
        """Run the hook that `forward` would run, which brings the weights of an offloaded model to the GPU."""
        hook: Any = getattr(self, "_hf_hook", None)
        if hasattr(hook, "pre_forward"):
            hook.pre_forward(self)


def as_diffusers(vae: VAE) -> DiffusersVAE:
    """Give a model the interface of diffusers' `AutoencoderKL`, for its image pipelines.

    The result holds `vae` itself, not a copy. It works without diffusers; if that is installed, the result is a
    `ModelMixin` of it under the name of the class that can express the network, so that `pipeline.save_pretrained`
    writes weights, `config.json` and `model_index.json` which diffusers loads without vaezoo. Saving a network that no
    class can express is an error.

    Latents are raw, as diffusers expects: the pipeline normalizes them by the entries of `config`. The latent
    statistics become

    - `scale` and `shift`: `scaling_factor` and `shift_factor`, which all pipelines read,
    - `mean` and `std`: `latents_mean`, `latents_std` and `scaling_factor` (1 without a `scale`), which the SDXL
      pipelines read; those of Stable Diffusion 1 and 2 read `scaling_factor` only,
    - packed statistics: `bn` and `batch_norm_eps`, which the FLUX.2 pipelines read, without a `scaling_factor`.

    `config` is computed once: after setting other statistics on `vae`, make a new adapter. `force_upcast` is `True` as
    in diffusers: pipelines that read it decode float16 weights in float32.

    Args:
        vae: The model, with known latent statistics.

    Raises:
        InputError: If the latent statistics are unknown, pipelines cannot express the packing or downscale, or
            diffusers is installed but cannot be imported.

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
    try:
        name = diffusers_config(vae)[CLASS_KEY]
    except CheckpointError:  # which saving raises again
        name = None
    return _pipeline_class(name)(vae)


@functools.cache
def _pipeline_class(name: str | None) -> type[DiffusersVAE]:
    """`DiffusersVAE` as pipelines recognize and record it.

    They save only what is a `ModelMixin`, and write package and name of its class to `model_index.json`.

    Args:
        name: The class of diffusers that will load what is saved; `None` if there is none.
    """
    if importlib.util.find_spec("diffusers") is None:
        return DiffusersVAE
    try:
        from diffusers import ModelMixin
    except (ImportError, RuntimeError) as error:  # RuntimeError: an import inside diffusers failed
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"as_diffusers: diffusers cannot be imported ({reason}): repair or uninstall it") from error
    own = DiffusersVAE.__name__
    body = {"__module__": "diffusers", "__qualname__": own, "__doc__": DiffusersVAE.__doc__}
    return type(name or own, (DiffusersVAE, ModelMixin), body)
