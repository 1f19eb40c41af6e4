"""The weights of a network in one with more latent channels, which computes the same at first."""

import torch
from torch import Tensor, nn

from vaezoo.errors import CheckpointError
from vaezoo.nn.build import build
from vaezoo.nn.single_layers import ConvAct, ConvBlock, Head
from vaezoo.nn.transforms import Clamp, Rescale
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import HALVES, ModelSpec

NEW = 0.1  # what new channels of the encoder start with, as a share of fresh weights
_CHANNELWISE = (ConvBlock, Head, ConvAct, Clamp, Rescale)


def widen(vae: VAE, spec: ModelSpec) -> VAE:
    """A network with more latent channels: the old ones, and the reconstruction, are as before.

    New channels start with small encoder weights, and with the log-variance of the old channels in turn, so that their
    noise is no louder than that of the old ones. The decoder's weights on them are zero: it computes what it did, and
    their gradient is not zero, because the new latents are not. From the first update on the encoder has one, too.

    Args:
        vae: The network with its weights.
        spec: Its own spec, with more latent channels.

    Returns:
        A new network, of the dtype and on the device of `vae`, without latent statistics.

    Raises:
        CheckpointError: If latent channels are mixed by a norm, shortcut, resampler or residual layer.
    """
    wide = build(spec, vae.device).to(vae.dtype)
    with torch.no_grad():
        for half in HALVES:
            last = None
            for name in _rows_that_see(vae, wide, half):
                last = _widen_row(vae, wide, name) or last
            if half == "encoder" and last:
                _copy_noise(wide.get_submodule(last), *_channels(vae, wide))
        old = vae.state_dict()
        for key, tensor in wide.state_dict().items():
            if tensor.shape == old[key].shape:
                tensor.copy_(old[key])
    return wide


def _rows_that_see(vae: VAE, wide: VAE, half: str) -> list[str]:
    """The rows that take or give another number of channels in the two networks."""
    before, names = half == "decoder", []
    for index, (row, new) in enumerate(zip(vae.get_submodule(half), wide.get_submodule(half), strict=True)):
        after = row.out != new.out
        if before or after:
            names.append(f"{half}.{index}")
        before = after
    return names


def _widen_row(vae: VAE, wide: VAE, name: str) -> str | None:
    """Give a row of the wide network its weights; returns its convolution's name, where it has one."""
    row, new = vae.get_submodule(name), wide.get_submodule(name)
    shapes = {key: tensor.shape for key, tensor in row.state_dict().items()}
    changed = [f"{name}.{key}" for key, tensor in new.state_dict().items() if tensor.shape != shapes[key]]
    if not isinstance(row, _CHANNELWISE) or getattr(row, "shortcut", None):
        raise _refused(vae, wide, changed[0] if changed else name)
    owners = sorted({key.rpartition(".")[0] for key in changed})
    for owner in owners:
        conv = vae.get_submodule(owner)
        if not isinstance(conv, nn.Conv2d) or conv.groups > 1:
            raise _refused(vae, wide, next(key for key in changed if key.startswith(owner)))
        _widen_conv(conv, wide.get_submodule(owner), *_channels(vae, wide), encoder=name.startswith("encoder"))
    return owners[-1] if owners else None


def _refused(vae: VAE, wide: VAE, name: str) -> CheckpointError:
    return CheckpointError(
        f"{vae.spec.label}: {name} cannot go from {vae.latent_channels} to {wide.latent_channels} latent channels, "
        "because its row mixes them: only convolutions without a shortcut, and heads, can be widened from weights; "
        "leave latent.channels as it is, or start from fresh weights"
    )


def _channels(vae: VAE, wide: VAE) -> tuple[int, int]:
    return vae.latent_channels, wide.latent_channels


def _widen_conv(old: nn.Conv2d, new: nn.Conv2d, few: int, many: int, encoder: bool) -> None:
    """Old outputs see old inputs as before and new ones not at all; new outputs stay fresh, in the encoder small."""
    outs, ins = (_kept(*sizes, few, many) for sizes in zip(old.weight.shape[:2], new.weight.shape[:2], strict=True))
    if encoder and len(ins) == new.in_channels:  # where inputs are new, the small ones come in already
        new.weight.mul_(NEW)
        new.bias.mul_(NEW)
    new.weight[outs] = 0
    new.weight[outs.unsqueeze(1), ins] = old.weight
    new.bias[outs] = old.bias


def _kept(before: int, after: int, few: int, many: int) -> Tensor:
    """Where the old channels of a tensor are among the new: all, the first, or those of means and log-variances."""
    old = torch.arange(before)
    return old if before in (after, few) else old + (many - few) * (old >= few)


def _copy_noise(last: nn.Conv2d, few: int, many: int) -> None:
    """Add the log-variance of the old channels, in turn, to that of the new ones."""
    for new in range(many + few, last.out_channels):
        old = many + (new - many) % few
        last.weight[new] += last.weight[old]
        last.bias[new] += last.bias[old]
