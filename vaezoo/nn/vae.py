"""The VAE: an encoder, a decoder and the latents between them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vaezoo.errors import InputError, SpecError
from vaezoo.nn.distributions import LATENTS, Posterior
from vaezoo.nn.inputs import check_dtype, check_tensor, enough_memory_for
from vaezoo.nn.normalization import denormalize_latents, normalize_latents
from vaezoo.nn.pretrained_methods import PretrainedMethods
from vaezoo.nn.stack import Executor, Stack, build_stack
from vaezoo.specs.faults import Faults
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.source import WeightsSource
from vaezoo.specs.stats import LatentStats


class Output(NamedTuple):
    """Result of `VAE.forward`: decoded images (B, C, H, W), the posterior, and the latents that were decoded."""

    reconstruction: Tensor
    posterior: Posterior
    latents: Tensor


class VAE(PretrainedMethods, nn.Module):
    """A variational autoencoder for images, or a plain one if its latents are deterministic.

    Images have the shape (B, 3, H, W) and values in [-1, 1]; H and W are multiples of `size_multiple`. Latents have the
    shape (B, latent_channels, H / downscale, W / downscale) and raw units; `normalize` converts them to the units that
    a diffusion model is trained on.

    Args:
        spec: The network, from `vaezoo.get_spec` or a YAML file.

    Attributes:
        source: Where the weights were loaded from; `None` for fresh weights and for weights that training, widening or
            growing has changed. Set it to `None`, as `latent_stats`, if you change weights by hand.
        executor: How `encode` and `decode` run the halves; `None` calls them. `vaezoo.optimize` sets it.

    Raises:
        SpecError: If rows cannot be built or do not fit together; the message lists all faults.

    Source: Kingma and Welling 2014 (arXiv:1312.6114); Rombach et al. 2022 (arXiv:2112.10752).
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        faults = Faults()
        self.spec = spec
        self.encoder = build_stack(spec, "encoder", faults)
        self.decoder = build_stack(spec, "decoder", faults)
        self._latent_stats: LatentStats | None = None
        self.source: WeightsSource | None = None
        self.executor: Executor | None = None
        self.statistics_remedy = "load weights that carry them, or set vae.latent_stats = vaezoo.LatentStats(…)"
        faults.check()
        self._downscale = int(1 / self.encoder.scale)
        if self.encoder.scale * self.decoder.scale != 1:
            text = f"the encoder divides each side by {self.downscale}, the decoder multiplies it by"
            raise SpecError(f"{spec.decoder[0].location}: {text} {self.decoder.scale}; they must be the same")

    @property
    def downscale(self) -> int:
        """Pixels per latent position along each side, f."""
        return self._downscale

    @property
    def size_multiple(self) -> int:
        """Height and width of images must be multiples of this; it exceeds `downscale` if latents are packed."""
        return self.downscale * self._pack

    @property
    def latent_channels(self) -> int:
        """Number of channels of a latent, z."""
        return self.spec.latent.channels

    @property
    def latent_stats(self) -> LatentStats | None:
        """Statistics of the latents of these weights; `None` if they are not known.

        Raises:
            InputError: On assignment, if the value is not a complete `LatentStats`.
            SpecError: On assignment, if the statistics do not fit the latent channels.
        """
        return self._latent_stats

    @latent_stats.setter
    def latent_stats(self, stats: LatentStats | None) -> None:
        if stats is not None:
            if not isinstance(stats, LatentStats):
                raise InputError(f"latent_stats must be a vaezoo.LatentStats, not {type(stats).__name__}")
            stats.check(self.latent_channels, self.spec.label)
            if stats.in_file:
                raise InputError(f"{self.spec.label}: latent_stats has only pack and eps; add mean and var")
        self._latent_stats = stats

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return next(self.parameters()).dtype

    def encode(self, images: Tensor) -> Posterior:
        """Encode images to the posterior over their latents.

        Args:
            images: Images of shape (B, 3, H, W) with values in [-1, 1], of `dtype` and on `device`; H and W must be
                multiples of `size_multiple`.

        Returns:
            A distribution over latents of shape (B, latent_channels, H / downscale, W / downscale), in raw units; take
            `mode()` for the best reconstruction and `sample()` for training.

        Raises:
            InputError: If the number of dimensions, channels, dtype or size do not fit. Values are not checked.
            OutOfMemoryError: If there is not enough memory.

        Examples:
            >>> import torch, vaezoo
            >>> vae = vaezoo.create("vae_f8_z4_micro")
            >>> posterior = vae.encode(torch.zeros(2, 3, 64, 96))
            >>> tuple(posterior.mode().shape)
            (2, 4, 8, 12)
        """
        check_tensor(images, "images", self.spec.image.channels, self.size_multiple)
        return LATENTS[self.spec.latent.kind](self._run(self.encoder, images, "images"))

    def decode(self, z: Tensor) -> Tensor:
        """Decode latents to images.

        Args:
            z: Latents of shape (B, latent_channels, h, w), in raw units, of `dtype` and on `device`.

        Returns:
            Images of shape (B, 3, h * downscale, w * downscale), with values in about [-1, 1] (not clamped).

        Raises:
            InputError: If the number of dimensions, channels, dtype or size do not fit.
            OutOfMemoryError: If there is not enough memory.

        Examples:
            >>> import torch, vaezoo
            >>> vae = vaezoo.create("vae_f8_z4_micro")
            >>> tuple(vae.decode(torch.zeros(1, 4, 8, 8)).shape)
            (1, 3, 64, 64)
        """
        check_tensor(z, "latents", self.latent_channels)
        return self._run(self.decoder, z, "latents")

    def forward(self, images: Tensor, sample: bool | None = None) -> Output:
        """Encode images and decode their latents.

        Args:
            images: Images, as `encode` takes them.
            sample: Whether to decode a sample of the posterior instead of its mode; `None` samples in training mode
                and takes the mode in eval mode.

        Raises:
            InputError: As for `encode`.
        """
        posterior = self.encode(images)
        z = posterior.sample() if (self.training if sample is None else sample) else posterior.mode()
        return Output(self.decode(z), posterior, z)

    def normalize(self, z: Tensor) -> Tensor:
        """Convert raw latents to the normalized ones that a diffusion model is trained on.

        Args:
            z: Latents of shape (B, latent_channels, h, w), in raw units; h and w must be multiples of
                `latent_stats.pack`, if that is set.

        Returns:
            (z - mean) / std per channel, or (z - shift) * scale, as the statistics define it, of the same shape. If
            they pack, patches of pack x pack positions become channels: (B, latent_channels * pack^2, h / pack,
            w / pack).

        Raises:
            InputError: If the shape does not fit, or the latent statistics of these weights are not known.

        Examples:
            >>> import torch, vaezoo
            >>> vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
            >>> z = vae.encode(torch.zeros(1, 3, 64, 64)).mode()
            >>> torch.allclose(vae.denormalize(vae.normalize(z)), z, atol=1e-5)
            True
        """
        check_tensor(z, "latents", self.latent_channels, self._pack)
        return normalize_latents(z, self._known_stats())

    def denormalize(self, z: Tensor) -> Tensor:
        """Convert latents as `normalize` returns them, and a diffusion model generates them, to raw ones for `decode`.

        Raises:
            InputError: If the shape does not fit, or the latent statistics of these weights are not known.
        """
        check_tensor(z, "latents", self.latent_channels * self._pack**2)
        return denormalize_latents(z, self._known_stats())

    def diffusion_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape (channels, h, w) of the normalized latent of one image, which a diffusion model generates.

        Args:
            height: Height of the image in pixels, a multiple of `size_multiple`.
            width: Width of the image in pixels, a multiple of `size_multiple`.

        Raises:
            InputError: If a side is not a positive multiple of `size_multiple`.
        """
        if height < 1 or width < 1 or height % self.size_multiple or width % self.size_multiple:
            raise InputError(f"{height}x{width} is not a positive multiple of {self.size_multiple} per side")
        pack, multiple = self._pack, self.size_multiple
        return self.latent_channels * pack**2, height // multiple, width // multiple

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the activations of each block in the backward pass: less memory, about a third more time.

        Args:
            enable: Whether to recompute them.
        """
        self.encoder.checkpointing = self.decoder.checkpointing = enable

    def extra_repr(self) -> str:
        about = f"{self.spec.label}, f{self.downscale}, z{self.latent_channels}"
        return f"{about}, weights: {self.source}" if self.source else about

    def _run(self, half: Stack, x: Tensor, what: str) -> Tensor:
        half.check_present()
        with enough_memory_for(x, what):
            if self.executor is not None:
                return self.executor(half, x)
            check_dtype(x, what, self.dtype)
            return half(x)

    @property
    def _pack(self) -> int:
        return (self.latent_stats and self.latent_stats.pack) or 1

    def _known_stats(self) -> LatentStats:  # no property: tracing reads all properties of a module
        if self.latent_stats is None:
            raise InputError(f"the latent statistics of {self.spec.label} are not known: {self.statistics_remedy}")
        return self.latent_stats
