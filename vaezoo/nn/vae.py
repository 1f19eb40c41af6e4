"""The VAE: two stacks and the latents between them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.errors import InputError, SpecError
from vaezoo.nn.distributions import LATENTS, Posterior
from vaezoo.nn.stack import build_stack, count_params
from vaezoo.specs.check import Faults
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.stats import LatentStats

PARAMETER_LIMIT = 4_000_000_000


class Output(NamedTuple):
    """What one pass through a VAE gives: `reconstruction` (B, C, H, W), `posterior`, and the `latents` decoded."""

    reconstruction: Tensor
    posterior: Posterior
    latents: Tensor


class VAE(nn.Module):
    """Images to a posterior over latents, and latents to images.

    Images are (B, 3, H, W) in [-1, 1] with H and W multiples of `size_multiple`; latents are
    (B, latent_channels, H / downscale, W / downscale) in raw units (`normalize` brings them to those that a diffusion
    model sees).

    Args:
        spec: The network, from `vaezoo.get_spec` or a YAML file.

    Raises:
        SpecError: If rows cannot be built or do not fit together; all faults in one text.

    Source: Kingma and Welling 2014 (arXiv:1312.6114); Rombach et al. 2022 (arXiv:2112.10752).
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        faults = Faults()
        self.spec = spec
        self.encoder = build_stack(spec, "encoder", faults)
        self.decoder = build_stack(spec, "decoder", faults)
        self._latent_stats: LatentStats | None = None
        self.statistics_remedy = (
            "load weights that carry them, or set vae.latent_stats = vaezoo.LatentStats(mean=…, std=…)"
        )
        faults.check()
        self._downscale = int(1 / self.encoder.scale)
        if self.encoder.scale * self.decoder.scale != 1:
            text = f"the encoder divides each side by {self.downscale}, the decoder multiplies it by"
            raise SpecError(f"{spec.decoder[0].location}: {text} {self.decoder.scale}; they must be the same")

    @property
    def downscale(self) -> int:
        """Pixels per latent pixel and side."""
        return self._downscale

    @property
    def size_multiple(self) -> int:
        """Height and width of images must be multiples of this; more than `downscale` where latents are packed."""
        return self.downscale * self._pack

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return self.spec.latent.channels

    @property
    def latent_stats(self) -> LatentStats | None:
        """Statistics of these weights' latents; None where they are not known. Setting wrong ones is a `SpecError`."""
        return self._latent_stats

    @latent_stats.setter
    def latent_stats(self, stats: LatentStats | None) -> None:
        if stats is not None:
            if not isinstance(stats, LatentStats):
                raise InputError(f"latent_stats is a vaezoo.LatentStats, not {type(stats).__name__}")
            stats.check(self.latent_channels, self.spec.label)
            if stats.in_file:
                raise InputError(f"{self.spec.label}: latent_stats says pack and eps only; mean and var are needed too")
        self._latent_stats = stats

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the weights."""
        return next(self.parameters()).dtype

    def encode(self, images: Tensor) -> Posterior:
        """Posterior over latents.

        Args:
            images: Of shape (B, 3, H, W), values in [-1, 1]; H and W multiples of `size_multiple`.

        Returns:
            A distribution over latents of shape (B, latent_channels, H / downscale, W / downscale), in raw units.

        Raises:
            InputError: If rank, channels, dtype or size do not fit. Values are not looked at.
        """
        self._check(images, "images", self.spec.image.channels, self.size_multiple)
        self._check_dtype(images, "images")
        return LATENTS[self.spec.latent.kind](self.encoder(images))

    def decode(self, z: Tensor) -> Tensor:
        """Images of shape (B, 3, h * downscale, w * downscale), about [-1, 1], not clamped.

        Args:
            z: Latents of shape (B, latent_channels, h, w), in raw units.

        Raises:
            InputError: If rank, channels, dtype or size do not fit.
        """
        self._check(z, "latents", self.latent_channels)
        self._check_dtype(z, "latents")
        return self.decoder(z)

    def forward(self, images: Tensor, sample: bool | None = None) -> Output:
        """Encode and decode: the one call that training makes.

        Args:
            images: As for `encode`.
            sample: Decode a sample of the posterior (True) or its mode (False); None samples in training mode only.
        """
        posterior = self.encode(images)
        z = posterior.sample() if (self.training if sample is None else sample) else posterior.mode()
        return Output(self.decode(z), posterior, z)

    def normalize(self, z: Tensor) -> Tensor:
        """Raw latents (B, latent_channels, h, w) to the space a diffusion model sees, packed if the statistics are.

        Raises:
            InputError: If rank, channels or size do not fit, or the latent statistics of these weights are not known.
        """
        self._check(z, "latents", self.latent_channels, self._pack)
        offset, gain = self._statistics(z)
        return (F.pixel_unshuffle(z, self._pack) - offset) * gain

    def denormalize(self, z: Tensor) -> Tensor:
        """The inverse of `normalize`: what a diffusion model made, to latents that `decode` takes."""
        self._check(z, "latents", self.latent_channels * self._pack**2)
        offset, gain = self._statistics(z)
        return F.pixel_shuffle(z / gain + offset, self._pack)

    def diffusion_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape (channels, h, w) of the normalised latent of an image of `height` x `width` pixels.

        Raises:
            InputError: If a side is not a positive multiple of `size_multiple`.
        """
        if height < 1 or width < 1 or height % self.size_multiple or width % self.size_multiple:
            raise InputError(f"{height}x{width} is no positive multiple of {self.size_multiple} per side")
        pack, multiple = self._pack, self.size_multiple
        return self.latent_channels * pack**2, height // multiple, width // multiple

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each row's activations in the backward pass: less memory, about a third more time."""
        self.encoder.checkpointing = self.decoder.checkpointing = enable

    def extra_repr(self) -> str:
        return f"{self.spec.label}, f{self.downscale}, z{self.latent_channels}"

    @property
    def _pack(self) -> int:
        return (self.latent_stats and self.latent_stats.pack) or 1

    def _statistics(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if self.latent_stats is None:
            raise InputError(f"the latent statistics of {self.spec.label} are not known: {self.statistics_remedy}")
        offset, gain = self.latent_stats.offset, self.latent_stats.gain
        return z.new_tensor(offset).view(1, -1, 1, 1), z.new_tensor(gain).view(1, -1, 1, 1)

    def _check(self, x: Tensor, what: str, channels: int, multiple: int = 1) -> None:
        expected = f"{what} of shape (B, {channels}, H, W)"
        if not isinstance(x, Tensor):
            raise InputError(f"expected {expected}, got {type(x).__name__}; vaezoo.load_image and to_tensor make them")
        if x.ndim != 4 or x.shape[1] != channels:
            raise InputError(f"expected {expected}, got {tuple(x.shape)}")
        if not x.is_floating_point():
            raise InputError(f"expected {expected} and floating dtype, got {x.dtype}; vaezoo.to_tensor converts")
        if 0 in x.shape or x.shape[2] % multiple or x.shape[3] % multiple:
            raise InputError(
                f"expected {expected} with H and W positive multiples of {multiple}, got {tuple(x.shape)}; "
                "vaezoo.pad_to_multiple pads images"
            )

    def _check_dtype(self, x: Tensor, what: str) -> None:
        casts = not x.is_meta and torch.is_autocast_enabled(x.device.type)
        if x.dtype != self.dtype and not casts:
            raise InputError(f"{what} are {x.dtype}, the model is {self.dtype}: pass {what}.to(vae.dtype)")


def build(spec: ModelSpec, device: torch.device | str | None = None) -> VAE:
    """A VAE with fresh random weights in training mode, on `device` (default: PyTorch's default device).

    It is first built on the meta device, so that a spec that is too large is refused before anything is allocated.

    Raises:
        SpecError: If the spec cannot be built, or has more than `PARAMETER_LIMIT` parameters.
    """
    with torch.device("meta"):
        model = VAE(spec)
    params = count_params(model)
    if params > PARAMETER_LIMIT:
        name = spec.name or spec.encoder[0].location
        raise SpecError(f"{name}: {params:,} parameters; the limit is {PARAMETER_LIMIT:,}")
    device = torch.device(device) if device is not None else default_device()
    if device.type == "meta":
        return model
    with device:
        return VAE(spec)


def default_device() -> torch.device:
    """Where PyTorch makes a tensor now; `torch.get_default_device` of PyTorch 2.6 overlooks `with torch.device(…)`."""
    return torch.empty(0).device
