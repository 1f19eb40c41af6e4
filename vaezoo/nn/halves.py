"""Models that have only their encoder or only their decoder."""

from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.nn.stack import Stack
from vaezoo.nn.vae import VAE
from vaezoo.specs.faults import unknown
from vaezoo.specs.model import HALVES


class AbsentHalf(Stack):
    """The half that `create(…, part=…)` left out, without blocks and weights.

    Args:
        name: `"encoder"` or `"decoder"`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def check_present(self) -> None:
        """See `Stack.check_present`."""
        raise InputError(f"this model was created without its {self.name}; create it without part= to use both halves")

    def forward(self, x: Tensor) -> Tensor:
        self.check_present()
        return x


def check_part(part: str | None) -> None:
    """Raise `InputError` unless `part` is a half, or `None` for both."""
    if part is not None and part not in HALVES:
        raise InputError(unknown(part, HALVES, "part"))


def keep_half(vae: VAE, part: str) -> VAE:
    """Remove the other half of a model, and with it its weights.

    Args:
        vae: The model, which is changed.
        part: The half to keep, `"encoder"` or `"decoder"`.

    Returns:
        The same `vae`.
    """
    (other,) = (half for half in HALVES if half != part)
    setattr(vae, other, AbsentHalf(other))
    return vae


def check_whole(vae: VAE, wish: str) -> None:
    """Raise `InputError` if a model lacks a half.

    Args:
        vae: The model.
        wish: What both halves are needed for, such as "save it".
    """
    absent = next((half.name for half in (vae.encoder, vae.decoder) if isinstance(half, AbsentHalf)), None)
    if absent:
        raise InputError(f"{vae.spec.label} was created without its {absent}; create it without part= to {wish}")
