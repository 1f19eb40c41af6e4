"""Floating-point dtypes of weights, under the names that commands and safetensors files use."""

import torch

from vaezoo.errors import InputError
from vaezoo.specs.faults import unknown

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # that a network can run in
STORED_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_WORDS = DTYPES | {"fp64": torch.float64} | {str(d).removeprefix("torch."): d for d in STORED_DTYPES.values()}


def dtype_of(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """Return the dtype of a text such as "bf16" or "bfloat16"; other values are returned as they are.

    Raises:
        InputError: If the text is not the name of a dtype.
    """
    if not isinstance(dtype, str):
        return dtype
    if dtype not in _WORDS:
        raise InputError(unknown(dtype, _WORDS, "dtype"))
    return _WORDS[dtype]
