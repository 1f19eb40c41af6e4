"""Transfers the weights of a network to one with more latent channels, which computes the same at first."""

import torch
from torch import Tensor, nn

from vaezoo.errors import CheckpointError
from vaezoo.nn.build import build
from vaezoo.nn.layers import bias_of
from vaezoo.nn.single_layers import ConvAct, ConvBlock, Head
from vaezoo.nn.transforms import Clamp, Rescale
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import HALVES, ModelSpec

NEW_CHANNEL_SCALE = 0.1  # of the random weights of the new channels of the encoder
_CHANNELWISE = (ConvBlock, Head, ConvAct, Clamp, Rescale)


def widen(vae: VAE, spec: ModelSpec) -> VAE:
    """Build a network with more latent channels whose old channels and reconstruction are those of `vae`.

    The new channels start with small encoder weights, and with the log-variances of the old channels, so that their
    noise is not larger. The decoder weights on them are zero. Their gradient is not, because the new latents are not
    zero; so the encoder weights get a gradient too after the first update.

    Args:
        vae: The network, with its weights.
        spec: The spec of `vae` with more latent channels.

    Returns:
        A new network of the dtype and on the device of `vae`, without latent statistics.

    Raises:
        CheckpointError: If a norm, shortcut, resampler or residual layer mixes latent channels.
    """
    vae = unwrapped(vae)
    wide = build(spec, vae.device).to(vae.dtype)
    with torch.no_grad():
        for half in HALVES:
            last: nn.Conv2d | None = None
            for name in _changed_rows(vae, wide, half):
                last = _widen_row(vae, wide, name) or last
            if half == "encoder" and last:
                _copy_noise(last, *_channels(vae, wide))
        old = vae.state_dict()
        for key, tensor in wide.state_dict().items():
            if tensor.shape == old[key].shape:
                tensor.copy_(old[key])
    return wide


def _changed_rows(vae: VAE, wide: VAE, half: str) -> list[str]:
    """Names of the rows whose number of input or output channels differs between the networks."""
    before, names = half == "decoder", []
    for index, (row, new) in enumerate(zip(getattr(vae, half), getattr(wide, half), strict=True)):
        after = row.out != new.out
        if before or after:
            names.append(f"{half}.{index}")
        before = after
    return names


def _widen_row(vae: VAE, wide: VAE, name: str) -> nn.Conv2d | None:
    """Set the weights of a row of the wide network, and return its last convolution, if any changes its shape."""
    row, new = vae.get_submodule(name), wide.get_submodule(name)
    shapes = {key: tensor.shape for key, tensor in row.state_dict().items()}
    changed = [f"{name}.{key}" for key, tensor in new.state_dict().items() if tensor.shape != shapes[key]]
    if not isinstance(row, _CHANNELWISE) or getattr(row, "shortcut", None):
        raise _refused(vae, wide, changed[0] if changed else name)
    last: nn.Conv2d | None = None
    for owner in sorted({key.rpartition(".")[0] for key in changed}):
        old_conv, new_conv = vae.get_submodule(owner), wide.get_submodule(owner)
        if not isinstance(old_conv, nn.Conv2d) or not isinstance(new_conv, nn.Conv2d) or old_conv.groups > 1:
            raise _refused(vae, wide, next(key for key in changed if key.startswith(owner)))
        _widen_conv(old_conv, new_conv, *_channels(vae, wide), encoder=name.startswith("encoder"))
        last = new_conv
    return last


def _refused(vae: VAE, wide: VAE, name: str) -> CheckpointError:
    return CheckpointError(
        f"{vae.spec.label}: {name} cannot go from {vae.latent_channels} to {wide.latent_channels} latent channels, "
        "because its row mixes them: weights can be widened only in heads and convolutions without a shortcut; "
        "keep latent.channels, or start from random weights"
    )


def _channels(vae: VAE, wide: VAE) -> tuple[int, int]:
    return vae.latent_channels, wide.latent_channels


def _widen_conv(old: nn.Conv2d, new: nn.Conv2d, few: int, many: int, encoder: bool) -> None:
    """Copy old weights; zero those of old outputs on new inputs; keep new outputs random, and small in the encoder."""
    outs, ins = (
        _old_channels(*sizes, few, many) for sizes in zip(old.weight.shape[:2], new.weight.shape[:2], strict=True)
    )
    if encoder and len(ins) == new.in_channels:  # if there are new inputs, those are small already
        new.weight.mul_(NEW_CHANNEL_SCALE)
        bias_of(new).mul_(NEW_CHANNEL_SCALE)
    new.weight[outs] = 0
    new.weight[outs.unsqueeze(1), ins] = old.weight
    bias_of(new)[outs] = bias_of(old)


def _old_channels(before: int, after: int, few: int, many: int) -> Tensor:
    """Indices of the old channels among the new: all, the first ones, or the means and the log-variances."""
    old = torch.arange(before)
    return old if before in (after, few) else old + (many - few) * (old >= few)


def _copy_noise(last: nn.Conv2d, few: int, many: int) -> None:
    """Add the log-variances of the old channels, in turn, to those of the new ones."""
    for new in range(many + few, last.out_channels):
        old = many + (new - many) % few
        last.weight[new] += last.weight[old]
        bias_of(last)[new] += bias_of(last)[old]
