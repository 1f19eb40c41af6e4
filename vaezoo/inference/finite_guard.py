"""The check that a model in low precision computes finite values."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.nn.stack import Stack
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import ModelSpec

logger = logging.getLogger(__name__)
_once = threading.Lock()  # images of a batch run in threads; it is global because guards are copied and pickled

REMEDY = "optimize it with dtype='bf16', with retry='fp32', or with the keep_fp32 that vaezoo probe finds"


@dataclass
class FiniteGuard:
    """Checks the results of a model whose weights are not in float32.

    Args:
        spec: The network, for messages.
        safer: Returns the model to run instead when a result is not finite; `None` to raise an error.
    """

    spec: ModelSpec
    safer: Callable[[], VAE] | None = None
    _warned: bool = field(default=False, init=False)

    def __call__(self, half: Stack, x: Tensor, result: Tensor, rows: Callable[[], Iterable[Tensor]]) -> Tensor:
        """The result, or that of the safer model.

        Args:
            half: Encoder or decoder.
            x: Its input, as the caller gave it.
            result: What it computed.
            rows: Computes again, for the message: returns the input of the half, and then the result of each row.

        Raises:
            InputError: If the result is not finite and there is no safer model.
        """
        if all(p.dtype == torch.float32 for p in half.parameters()) or result.isfinite().all():
            return result
        if self.safer is None:
            raise InputError(f"{self._fault(half, x, rows)}; {REMEDY}")
        with _once:
            safer = self.safer()
            if not self._warned:
                logger.warning(f"{self._fault(half, x, rows)}; such images are run in {safer.dtype} instead")
                self._warned = True
        assert safer.executor is not None
        return safer.executor(getattr(safer, half.name), x)

    def _fault(self, half: Stack, x: Tensor, rows: Callable[[], Iterable[Tensor]]) -> str:
        """What is not finite, and where it is first."""
        index = next((index for index, made in enumerate(rows()) if not made.isfinite().all()), len(half))
        found = f"NaN or infinite values in {_lowest(half)}"
        if index == 0:
            return f"{self.spec.label}: the input of the {half.name}, of shape {tuple(x.shape)}, has {found}"
        row = getattr(self.spec, half.name)[index - 1]
        return f"{self.spec.label}: {half.name}[{index - 1}] ({row.block}) computes {found} for {tuple(x.shape)}"


def _lowest(half: Stack) -> torch.dtype:
    return min((p.dtype for p in half.parameters()), key=lambda dtype: dtype.itemsize)
