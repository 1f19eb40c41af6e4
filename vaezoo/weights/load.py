"""Loading safetensors files: the header is compared with the network before any tensor is read."""

import logging
from functools import reduce
from pathlib import Path

import torch

from vaezoo.errors import CheckpointError, InputError
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.formats.layouts.engine import Shapes, TensorNames
from vaezoo.io.files import sha256_of
from vaezoo.nn.build import shapes_of
from vaezoo.nn.dtypes import STORED_DTYPES
from vaezoo.nn.halves import keep_half
from vaezoo.nn.vae import VAE
from vaezoo.specs.stats import LatentStats
from vaezoo.weights.finite import cast_finite
from vaezoo.weights.header import (
    HASH_KEY,
    Header,
    View,
    expected_shapes,
    merge_fused,
    read_header,
    remark,
    view,
)
from vaezoo.weights.header_diff import header_diff, shown
from vaezoo.weights.tensors import ReadTensor, one_thread, open_tensors, read_statistics, read_tensor

logger = logging.getLogger(__name__)


def load_into(
    vae: VAE,
    path: str | Path,
    layout: str,
    spec_hash: str | None,
    dtype: torch.dtype | None,
    device: torch.device,
    header: Header | None = None,
    part: str | None = None,
) -> LatentStats | None:
    """Load the weights of a file into a VAE.

    A VAE on the meta device takes the tensors of the file as its parameters, so that nothing is initialized first. Any
    other keeps its parameters, which optimizers and wrappers may hold, and gets new values.

    Args:
        vae: The network.
        path: A safetensors file, or two as `ENCODER,DECODER`.
        layout: Layout of the names in the file, a key of `LAYOUTS`.
        spec_hash: Hash of the network that the file must be for, if the file names one; `None` accepts any.
        dtype: Dtype to cast to; `None` keeps that of the file. If its tensors have several, it means the smallest dtype
            that holds all their values.
        device: Device to put the tensors on.
        header: Header of the file, if it is known already.
        part: The only half to read and keep, `"encoder"` or `"decoder"`; `None` means both.

    Returns:
        The latent statistics of packed latents, if the file holds them.

    Raises:
        CheckpointError: If names or shapes differ, before any tensor is read; the text is a diff. If a tensor has NaN
            or infinite values, or values too large for `dtype`.
        InputError: If `dtype` is not a dtype of weights.
    """
    check_dtype(dtype)
    header = header or read_header(path)
    names, seen = fitting(vae, header, layout, f"{path} does not fit {vae.spec.label} (layout {layout})")
    odd = sorted({header.dtypes[raw] for raw in seen.names.values()} - STORED_DTYPES.keys())
    if odd:
        raise CheckpointError(f"{path}: tensors of type {', '.join(odd)}; vaezoo reads {', '.join(STORED_DTYPES)}")
    written_for = header.metadata.get(HASH_KEY)
    if spec_hash and written_for and written_for != spec_hash:
        raise CheckpointError(
            f"{path} was written for a network with spec hash {written_for[:12]}, not {spec_hash[:12]} "
            f"({vae.spec.label}): same shapes, another function; name its network, or load it anyway "
            'with load_checkpoint(vae, path, layout="native")'
        )
    if seen.prefix:
        logger.info("%s: the prefix %s of its names was taken off", path, shown(seen.prefix))
    if seen.dropped:
        logger.info("%s: left out by rule: %s", path, dropped_text(seen))
    if part:  # after the comparison: a layout names the tensors of whole networks
        keep_half(vae, part)
        names = [each for each in names if each.key.startswith(f"{part}.")]
    with open_tensors(header) as read, one_thread():
        tensors = tensors_of(vae, read, names, seen, f"{path}: ", device, dtype or _common_dtype(header, seen))
        statistics = read_statistics(read, seen, vae.latent_channels, path)
    vae.load_state_dict(tensors, strict=True, assign=vae.device.type == "meta")
    if vae.device.type == "meta" != device.type:
        raise CheckpointError(
            f"{path}: the weights were discarded, because modules are created without values here (such as in "
            "accelerate's init_empty_weights); create the model outside of that context"
        )
    return statistics


def _common_dtype(header: Header, seen: View) -> torch.dtype:
    """The dtype of a file's tensors; if they differ, the smallest one that holds all their values."""
    return reduce(torch.promote_types, {STORED_DTYPES[header.dtypes[raw]] for raw in seen.names.values()})


def fitting(vae: VAE, header: Header, layout: str, misfit: str) -> tuple[list[TensorNames], View]:
    """Where a file keeps each tensor of a VAE, and how the layout sees the file.

    Raises:
        CheckpointError: If names or shapes differ: `misfit`, and a diff.
    """
    seen = view(header, LAYOUTS[layout])
    names = merge_fused(tensor_names_of(vae, layout), seen.names)
    if diff := header_diff(expected_shapes(names), seen.shapes):
        raise CheckpointError(f"{misfit}{remark(header)}: {diff}")
    return names, seen


def tensors_of(
    vae: VAE,
    read: ReadTensor,
    names: list[TensorNames],
    seen: View,
    where: str = "",
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> dict[str, torch.Tensor]:
    """Read all tensors of a VAE, as copies that share no memory with the file or module they are read from.

    Args:
        vae: The network.
        read: Reads a tensor by its name in the file.
        names: Where the file keeps each tensor of the VAE.
        seen: The file in its layout.
        where: The file, before the name of a tensor in messages.
        device: Device of the copies; `None` keeps that of each tensor.
        dtype: Dtype of the copies; `None` keeps that of each tensor.

    Raises:
        CheckpointError: If a tensor has NaN or infinite values, or values too large for `dtype`.
    """
    shapes = _shapes(vae)

    def copy(each: TensorNames) -> torch.Tensor:
        return cast_finite(read_tensor(read, each, seen, shapes[each.key]), device, dtype, f"{where}{each.names[0]}")

    return {each.key: copy(each) for each in names}


def dropped_text(seen: View) -> str:
    """What was left out by rule, such as `loss.*: 10, model_ema.*: 248`."""
    return ", ".join(f"{rule}: {count}" for rule, count in sorted(seen.dropped.items()))


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raise `InputError` unless weights can have this dtype; `None` means that of the file."""
    if dtype is not None and dtype not in STORED_DTYPES.values():
        raise InputError(f"weights are {', '.join(map(str, STORED_DTYPES.values()))}, not {dtype}")


def check_weights_there(vae: VAE) -> None:
    """Raise `CheckpointError` if a VAE is on the meta device."""
    if vae.device.type == "meta":
        raise CheckpointError(f"{vae.spec.label} is on the meta device: it has shapes but no weights")


def check_as_specified(vae: VAE) -> None:
    """Raise `CheckpointError` unless `vae` has exactly the tensors of its spec, so that they can be loaded again."""
    if diff := header_diff(shapes_of(vae.spec), _shapes(vae)):
        what = "a compiled, wrapped or rebuilt module; pass the one that vaezoo.create returned"
        raise CheckpointError(f"the model has other tensors than {vae.spec.label} ({what}): {diff}")


def tensor_names_of(vae: VAE, layout: str) -> list[TensorNames]:
    """Where a layout keeps each tensor of `vae`; raises `CheckpointError` if it cannot express the network."""
    if layout not in LAYOUTS:
        raise CheckpointError(f"layout {layout!r} is not known; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[layout].tensor_names(vae.spec, _shapes(vae))


def _shapes(vae: VAE) -> Shapes:
    return {key: tuple(tensor.shape) for key, tensor in vae.state_dict().items()}


def check_sha256(path: str | Path, expected: str | None, remedy: str = "") -> None:
    """Compare the SHA-256 of a file with the one on record; `None` if there is none.

    Raises:
        CheckpointError: If they differ; the text ends with the remedy.
    """
    if expected is not None:
        check_digest(path, sha256_of(path), expected, remedy)


def check_digest(path: str | Path, found: str, expected: str | None, remedy: str = "", kind: str = "sha256") -> None:
    """`check_sha256` for a file whose hash of this kind is `found`."""
    if expected not in (None, found):
        text = f"{path}: damaged or exchanged: its {kind} is {found}, on record is {expected}"
        raise CheckpointError(f"{text}; {remedy}" if remedy else text)
