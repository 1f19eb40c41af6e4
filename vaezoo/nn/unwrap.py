"""Models inside of the wrappers of PyTorch."""

from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from vaezoo.errors import InputError
from vaezoo.nn.vae import VAE


def unwrapped(vae: VAE) -> VAE:
    """Return the VAE inside of `DataParallel`, `DistributedDataParallel` or `torch.compile`; a VAE is returned as is.

    An object that is no module and has the methods `encode` and `decode` is returned as well.

    Raises:
        InputError: If it is anything else; the text names the attribute of a module that holds a VAE, if there is one.
    """
    inner: Any = vae
    while True:
        if isinstance(inner, (DataParallel, DistributedDataParallel)):
            inner = inner.module
        elif hasattr(inner, "_orig_mod"):  # of torch.compile
            inner = inner._orig_mod
        else:
            break
    is_module = isinstance(inner, nn.Module)
    if isinstance(inner, VAE) or (not is_module and hasattr(inner, "encode") and hasattr(inner, "decode")):
        return inner
    children = inner.named_children() if is_module else ()
    name = next((name for name, child in children if isinstance(child, VAE)), None)
    hint = f"; pass its .{name}" if name else ", as vaezoo.create returns it"
    raise InputError(f"a {type(inner).__name__} is not a vaezoo.VAE{hint}")
