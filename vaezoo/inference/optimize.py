"""`optimize`: the same model, run as fast or in as little memory as this machine allows."""

import copy
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vaezoo.distributed import SINGLE, ProcessGroup
from vaezoo.errors import InputError
from vaezoo.inference.compiled import CompiledExecutor
from vaezoo.inference.executor import StripExecutor
from vaezoo.inference.finite_guard import FiniteGuard
from vaezoo.inference.process_memory import keep_freed_memory
from vaezoo.nn.dtypes import DTYPES
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.specs.faults import unknown

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
BF16_FLAGS = {"amx_bf16", "avx512_bf16"}  # of /proc/cpuinfo: without one of them, bfloat16 is slower than float32
AMPERE = (8, 0)  # compute capability of the first GPUs with fast bfloat16


def optimize(
    vae: VAE,
    dtype: str | torch.dtype = "auto",
    memory_format: str = "auto",
    fuse: bool = True,
    compile: bool = False,
    tile: int | Literal["auto"] | None = None,
    keep_memory: bool = False,
    keep_fp32: Sequence[str] = (),
    retry: str | torch.dtype | None = None,
    processes: ProcessGroup = SINGLE,
) -> VAE:
    """A model with the same weights whose `encode` and `decode` are faster or need less memory.

    Both accept any floating-point dtype and device and return float32. Results equal those of `vae` up to rounding in
    the chosen dtype, also with `tile`: the image is computed in strips that overlap as far as convolutions reach, and
    norms and attention see the whole of it. With gradients enabled, encoder and decoder are called as they are.

    Args:
        vae: The model, which stays as it is. Weights that need no conversion are shared with it.
        dtype: Dtype of the weights, "fp32", "bf16", "fp16" or a `torch.dtype`. "auto" takes bf16 on CPUs with AMX or
            AVX512-BF16 and on GPUs since Ampere, and keeps the dtype of `vae` elsewhere.
        memory_format: "contiguous" or "channels_last"; "auto" takes channels_last on CPUs.
        fuse: Whether to fold nearest-neighbor upsampling into the convolution after it and to compute wide 3x3
            convolutions by Winograd's filtering; both are exact in real numbers.
        compile: Whether to compile encoder and decoder with `torch.compile` for any height and width. The first call
            takes long. Cannot be combined with `tile`.
        tile: Height of a strip in pixels, for images that do not fit into memory as a whole; "auto" chooses it by the
            free memory of the device. `None` aims at speed.
        keep_memory: Whether this process keeps memory that it frees for its next tensors
            (`vaezoo.inference.process_memory.keep_freed_memory`); faster on Linux, but it affects the whole process.
        keep_fp32: Names of rows to keep in float32, such as `("decoder[3]", "decoder[4]")`, where `dtype` overflows or
            is too coarse; `vaezoo probe` finds them.
        retry: Dtype in which an image is run again whose result is not finite in `dtype`; the weights are converted
            when that first happens. `None` raises an error instead. Results in float32 are not checked.
        processes: Processes that share each image, every one computing a part of its rows, as
            `vaezoo.distributed.process_group` yields them. All must have the same weights, call `encode` and `decode`
            with the same tensors, and get the whole result. Cannot be combined with `compile`.

    Returns:
        The model, in eval mode. `vaezoo.save` and `push_to_hub` accept it if its dtype is that of `vae`.

    Raises:
        InputError: If an argument is not one of its choices, or `compile` is combined with `tile` or `processes`.
            `encode` and `decode` raise it if a result in lower precision than float32 is not finite; it names the first
            such row. They also raise it if the image has fewer rows of latents than there are `processes`.

    Examples:
        >>> import torch, vaezoo
        >>> vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
        >>> fast = vaezoo.optimize(vae, dtype="fp32", tile=64)
        >>> images = torch.rand(1, 3, 256, 128) * 2 - 1
        >>> with torch.inference_mode():
        ...     torch.allclose(fast(images).reconstruction, vae(images).reconstruction, atol=1e-4)
        True
    """
    if compile and tile is not None:
        raise InputError("compile and tile cannot be combined: a compiled half sees the whole image; choose one")
    if compile and processes.world_size > 1:
        raise InputError("compile and processes cannot be combined: a compiled half sees the whole image; choose one")
    if tile is not None and tile != "auto" and (not isinstance(tile, int) or isinstance(tile, bool) or tile < 1):
        raise InputError(f"tile is {tile!r}; expected a height in pixels, 'auto' or None")
    vae = unwrapped(vae)
    made = _converted(vae, _dtype(vae, dtype), _memory_format(vae, memory_format), _rows(vae, keep_fp32))
    before = None if vae.executor is None else vae.executor.cast_from
    cast_from = before or (None if all(map(_same_dtype, made.parameters(), vae.parameters())) else vae.dtype)
    safer = None
    if retry is not None:
        safe = _dtype(vae, retry)
        safer = cache(partial(optimize, vae, safe, memory_format, fuse, compile, tile, processes=processes))
    guard = FiniteGuard(vae.spec, safer)
    if compile:
        made.executor = CompiledExecutor(cast_from, guard)
    else:
        made.executor = StripExecutor(tile, fuse, vae.downscale, cast_from, guard, processes)
    if keep_memory:
        keep_freed_memory()
    return made


def fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 on a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= AMPERE
    return device.type == "cpu" and not BF16_FLAGS.isdisjoint(cpu_flags())


@cache
def cpu_flags() -> frozenset[str]:
    """The features of the CPU as Linux names them; none on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(flag for line in lines if line.startswith("flags") for flag in line.split()[2:])


def _dtype(vae: VAE, dtype: str | torch.dtype) -> torch.dtype:
    if dtype == "auto":
        return torch.bfloat16 if fast_bf16(vae.device) else vae.dtype
    if isinstance(dtype, str):
        if dtype not in DTYPES:
            raise InputError(unknown(dtype, ["auto", *DTYPES], "dtype"))
        return DTYPES[dtype]
    if dtype not in DTYPES.values():
        raise InputError(f"dtype is {dtype!r}; expected 'auto', {', '.join(DTYPES)} or one of {list(DTYPES.values())}")
    return dtype


def _memory_format(vae: VAE, memory_format: str) -> torch.memory_format:
    if memory_format == "auto":
        return torch.channels_last if vae.device.type == "cpu" else torch.contiguous_format
    if memory_format not in FORMATS:
        raise InputError(unknown(memory_format, ["auto", *FORMATS], "memory_format"))
    return FORMATS[memory_format]


def _rows(vae: VAE, names: Sequence[str]) -> set[str]:
    """The prefixes in a state dict of rows that are named as in messages: "decoder.3." for "decoder[3]"."""
    known = {
        f"{half.name}[{index}]": f"{half.name}.{index}."
        for half in (vae.encoder, vae.decoder)
        for index in range(len(half))
    }
    for name in names:
        if name not in known:
            raise InputError(f"keep_fp32: {unknown(name, known, 'row')}")
    return {known[name] for name in names}


def _same_dtype(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype


def _converted(vae: VAE, dtype: torch.dtype, memory_format: torch.memory_format, kept: set[str]) -> VAE:
    """A VAE with the weights of another in a dtype and memory format.

    Args:
        vae: The other.
        dtype: The dtype.
        memory_format: The memory format.
        kept: Prefixes of the rows that are float32 instead.
    """
    memo: dict[int, object] = {}
    for name, x in (*vae.named_parameters(), *vae.named_buffers()):
        converted = x.detach().to(
            dtype=torch.float32 if name.startswith(tuple(kept)) else dtype,
            memory_format=memory_format if x.ndim == 4 else torch.preserve_format,
        )
        parameter = isinstance(x, nn.Parameter)
        memo[id(x)] = nn.Parameter(converted, requires_grad=x.requires_grad) if parameter else converted
    if vae.executor is not None:
        memo[id(vae.executor)] = None
    made = copy.deepcopy(vae, memo)  # with the changes that were made to its modules
    made.executor = None
    for half in (made.encoder, made.decoder):
        prefixes = [f"{half.name}.{index}." for index in range(len(half))]
        half.dtypes = tuple(torch.float32 if prefix in kept else dtype for prefix in prefixes) if kept else ()
    return made.eval()
