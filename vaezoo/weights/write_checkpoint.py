"""Writing the weights of a model in any layout."""

import os
from pathlib import Path

import torch
from torch import Tensor

from vaezoo.errors import CheckpointError, FileError, InputError
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.io.tensor_file import write_tensor_files
from vaezoo.nn.dtypes import dtype_of
from vaezoo.nn.halves import check_whole
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import HALVES
from vaezoo.weights.finite import cast_finite, is_finite
from vaezoo.weights.header import HASH_KEY, weights_files
from vaezoo.weights.load import check_as_specified, check_dtype, check_weights_there, tensor_names_of


def export_checkpoint(
    vae: VAE, path: str | Path, layout: str = "native", dtype: torch.dtype | str | None = None
) -> None:
    """Write the weights of a VAE to a safetensors file in any layout, atomically.

    Args:
        vae: The model.
        path: The file to write; for the layout "taesd" two files as `ENCODER,DECODER`.
        layout: Layout of the names in the file, a key of `LAYOUTS`; "native" also stores the spec hash.
        dtype: Dtype to cast to, also as text such as "fp16"; `None` keeps that of each tensor.

    Raises:
        CheckpointError: If the layout cannot express the network or can only be read, the VAE is on the meta device, or
            a tensor has NaN or infinite values or values too large for `dtype`; then nothing is written.
        FileError: If the file cannot be written.
        InputError: If `dtype` is not a dtype of weights, or the VAE lacks a half.

    Examples:
        >>> import os, tempfile, vaezoo
        >>> vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
        >>> vaezoo.export_checkpoint(vae, path, layout="documented")
        >>> vaezoo.create(f"file:{path}").spec == vae.spec
        True
    """
    vae = unwrapped(vae)
    dtype = dtype_of(dtype)
    check_dtype(dtype)
    check_whole(vae, "save it")
    check_weights_there(vae)
    check_as_specified(vae)
    tensors = tensors_in_layout(vae, layout, dtype)
    files = weights_files(path)
    # one entry only: safetensors writes several in random order, and equal weights must give equal files
    metadata = {HASH_KEY: vae.spec.hash} if layout == "native" else {"format": "pt"}
    if LAYOUTS[layout].two_files != (len(files) == 2):
        wanted = "two files, ENCODER,DECODER" if LAYOUTS[layout].two_files else "one file"
        raise CheckpointError(f"{path}: layout {layout} is {wanted}")
    contents = {files[0]: tensors}
    if len(files) == 2:
        if os.path.realpath(files[0]) == os.path.realpath(files[1]):
            raise FileError(f"{path}: names one file for encoder and decoder; name two")
        contents = {file: _half(tensors, f"{half}.") for half, file in zip(HALVES, files, strict=True)}
    try:
        write_tensor_files(contents, metadata)
    except RuntimeError as error:  # safetensors refuses tensors that share memory
        raise CheckpointError(f"{path}: not written, because {str(error).strip().partition('.')[0]}") from error


def check_savable(vae: VAE) -> None:
    """Check that the weights of a VAE may be saved.

    Raises:
        CheckpointError: If weights are missing or not finite.
        InputError: If a half is missing, or `optimize` has rounded the weights.
    """
    check_whole(vae, "save or publish it")
    check_weights_there(vae)
    if vae.executor is not None and vae.executor.cast_from is not None:
        cast = f"vaezoo.optimize has cast these weights from {vae.executor.cast_from} to {vae.dtype}"
        raise InputError(f"{vae.spec.label}: {cast}; save the model that was given to it")
    tensors = vae.state_dict()
    bad = [key for key, tensor in tensors.items() if not is_finite(tensor)]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise CheckpointError(f"NaN or infinite weights in {', '.join(bad[:5])}{more}: not saved")


def tensors_in_layout(vae: VAE, layout: str, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """The tensors of a VAE, on the CPU, with the names and shapes of a layout.

    Raises:
        CheckpointError: If the layout cannot express the network or can only be read, or a tensor has NaN or infinite
            values or values too large for `dtype`.
    """
    translated = tensor_names_of(vae, layout)
    if why := LAYOUTS[layout].read_only(vae.spec, translated):
        raise CheckpointError(f"layout {layout} of {vae.spec.label} can be read, not written: {why}")
    cpu = torch.device("cpu")
    state = {key: cast_finite(tensor, cpu, dtype, key, copy=False) for key, tensor in vae.state_dict().items()}
    tensors: dict[str, Tensor] = {}
    for key, names, shape, *_ in translated:
        pieces = state[key].chunk(len(names))
        tensors |= {n: p.reshape(shape).contiguous() for n, p in zip(names, pieces, strict=True)}
    tensors |= _statistics(vae, layout, dtype)
    if layout != "native":
        # PyTorch's batch norm also counts batches, and other libraries load it strictly
        norms = [name.removesuffix("running_mean") for name in tensors if name.endswith(".running_mean")]
        tensors |= {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}
    return tensors


def _statistics(vae: VAE, layout: str, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The statistics of packed latents, if the layout stores them with the weights."""
    prefix, stats = LAYOUTS[layout].statistics, vae.latent_stats
    if prefix is None or stats is None or stats.var is None:
        return {}
    values = {"running_mean": stats.mean, "running_var": stats.var}
    dtype = torch.float64 if layout == "native" else dtype or vae.dtype  # native files keep full precision
    return {f"{prefix}.{name}": torch.tensor(value, dtype=dtype) for name, value in values.items()}


def _half(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
