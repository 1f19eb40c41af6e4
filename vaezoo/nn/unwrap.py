"""Models inside of the wrappers of PyTorch."""

from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from vaezoo.errors import InputError
from vaezoo.nn.vae import VAE


def unwrapped(vae: VAE) -> VAE:
    """Return the VAE inside of `DataParallel`, `DistributedDataParallel` or `torch.compile`; a VAE is returned as is.

    An object that has the methods of a VAE and is no module is returned as well.

    Raises:
        InputError: If it is another module; the text names the attribute that holds a VAE, if there is one.
    """
    inner: Any = vae
    while True:
        if isinstance(inner, (DataParallel, DistributedDataParallel)):
            inner = inner.module
        elif hasattr(inner, "_orig_mod"):  # of torch.compile
            inner = inner._orig_mod
        else:
            break
    if isinstance(inner, VAE) or not isinstance(inner, nn.Module):
        return inner
    name = next((name for name, child in inner.named_children() if isinstance(child, VAE)), None)
    hint = f"; pass its .{name}" if name else ", as vaezoo.create returns it"
    raise InputError(f"a {type(inner).__name__} is not a vaezoo.VAE{hint}")
