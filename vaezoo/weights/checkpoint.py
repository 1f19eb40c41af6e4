"""safetensors files: header first, compared with the network, then tensors straight into it."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vaezoo.errors import CheckpointError, FileError, InputError
from vaezoo.files import opened, replacing
from vaezoo.nn.vae import VAE, build
from vaezoo.weights.diff import header_diff
from vaezoo.weights.layouts import LAYOUTS
from vaezoo.weights.layouts.part import Part, Shapes

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
HASH_KEY = "vaezoo_spec_hash"
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class Header(NamedTuple):
    """What a safetensors file says of itself: shape and dtype code of every tensor, and its metadata."""

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str]


def read_header(path: str | Path) -> Header:
    """The header of a safetensors file; no tensor is read.

    Raises:
        FileError: If there is no such file.
        CheckpointError: If it is a pickle, or no whole safetensors file.
    """
    path = Path(path)
    start = _first_bytes(path)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            shapes = {key: tuple(part.get_shape()) for key, part in slices.items()}
            dtypes = {key: part.get_dtype() for key, part in slices.items()}
            return Header(shapes, dtypes, dict(file.metadata() or {}))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: {_what_else(start)} ({error})") from error


def _first_bytes(path: Path) -> bytes:
    if not os.path.isfile(path):  # Path.is_file raises OSError for too long a name
        raise FileError(f"{path}: {f'a folder; write local-dir:{path}' if os.path.isdir(path) else 'no such file'}")
    with opened(path) as file:
        return file.read(4)


def _what_else(start: bytes) -> str:
    """What a file that is not safetensors seems to be from its first bytes, and what to do."""
    if start.startswith(_PICKLE_STARTS):
        return "a pickle, which can run code when opened; vaezoo reads safetensors only (docs/hub.md, 'Pickles')"
    return "not a whole safetensors file: damaged, cut off, or of another format; fetch it again"


def load_into(
    vae: VAE,
    path: str | Path,
    layout: str,
    spec_hash: str | None,
    dtype: torch.dtype | None,
    device: torch.device,
) -> None:
    """Give a VAE the weights of a file.

    One on the meta device takes the file's tensors as its own, so that nothing is initialised first; a live one keeps
    its parameters, which optimisers and wrappers hold, and gets new values.

    Args:
        vae: The network.
        path: A safetensors file.
        layout: A key of `LAYOUTS`.
        spec_hash: The network the file must be for, if it says; None does not ask.
        dtype: What to cast to; None keeps the file's own.
        device: Where to put the tensors.

    Raises:
        CheckpointError: If names or shapes differ (the text is a diff), before any tensor is read.
        InputError: If `dtype` is no floating type of weights.
    """
    check_dtype(dtype)
    header = read_header(path)
    parts = parts_of(vae, layout)
    if diff := header_diff(wanted_shapes(parts), header.shapes):
        raise CheckpointError(f"{path} does not fit {vae.spec.label} (layout {layout}): {diff}")
    odd = sorted({code for code in header.dtypes.values() if code not in DTYPES})
    if odd:
        raise CheckpointError(f"{path}: tensors of type {', '.join(odd)}; vaezoo reads {', '.join(DTYPES)}")
    written_for = header.metadata.get(HASH_KEY)
    if spec_hash and written_for and written_for != spec_hash:
        raise CheckpointError(
            f"{path} was written for a network with spec hash {written_for[:12]}, not {spec_hash[:12]} "
            f"({vae.spec.label}): same shapes, another function; name its network, or load it all the "
            'same with load_checkpoint(vae, path, layout="native")'
        )
    tensors = _read_tensors(path, parts, _shapes(vae), dtype, device)
    vae.load_state_dict(tensors, strict=True, assign=vae.device.type == "meta")


def _read_tensors(
    path: str | Path, parts: list[Part], shapes: Shapes, dtype: torch.dtype | None, device: torch.device
) -> dict[str, Tensor]:
    tensors = {}
    try:
        with safe_open(path, framework="pt") as file:
            for part in parts:
                pieces = [file.get_tensor(name) for name in part.names]
                joined = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
                # a copy, because a tensor of the file's own dtype would go on pointing into the file
                tensors[part.key] = joined.reshape(shapes[part.key]).to(device, dtype, copy=True)
            return tensors
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); fetch it again") from error


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raise `InputError` unless weights can be of this type; None is each file's own."""
    if dtype is not None and dtype not in DTYPES.values():
        raise InputError(f"weights are {', '.join(map(str, DTYPES.values()))}, not {dtype}")


def check_weights_there(vae: VAE) -> None:
    """Raise `CheckpointError` for a VAE on the meta device."""
    if vae.device.type == "meta":
        raise CheckpointError(f"{vae.spec.label} is on the meta device: it has shapes but no weights")


def check_as_specified(vae: VAE) -> None:
    """Raise `CheckpointError` unless the tensors of `vae` are those of its spec, so that they can be loaded again."""
    if diff := header_diff(_shapes(build(vae.spec, "meta")), _shapes(vae)):
        what = "a compiled, wrapped or rebuilt module; pass the one that vaezoo.create returned"
        raise CheckpointError(f"the model has other tensors than {vae.spec.label} ({what}): {diff}")


def parts_of(vae: VAE, layout: str) -> list[Part]:
    """Where a layout keeps each tensor of `vae`; raises `CheckpointError` if it cannot express the network."""
    if layout not in LAYOUTS:
        raise CheckpointError(f"layout {layout!r} is not known; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[layout](vae.spec, _shapes(vae))


def wanted_shapes(parts: list[Part]) -> Shapes:
    """The foreign names of all parts and the shapes that are wanted under them."""
    return {name: part.shape for part in parts for name in part.names}


def _shapes(vae: VAE) -> Shapes:
    return {key: tuple(tensor.shape) for key, tensor in vae.state_dict().items()}


def export_checkpoint(vae: VAE, path: str | Path, layout: str = "native", dtype: torch.dtype | None = None) -> None:
    """Write a VAE's weights to a safetensors file in any layout, whole or not at all.

    Args:
        vae: The network.
        path: The file to write.
        layout: A key of `LAYOUTS`; "native" also notes the spec hash in the file.
        dtype: What to cast to; None keeps each tensor's own.

    Raises:
        CheckpointError: If the layout cannot express the network, or the VAE is on the meta device.
        FileError: If the file cannot be written.
        InputError: If `dtype` is no floating type of weights.
    """
    check_dtype(dtype)
    check_weights_there(vae)
    check_as_specified(vae)
    parts = parts_of(vae, layout)
    state = {key: tensor.to("cpu", dtype) for key, tensor in vae.state_dict().items()}
    tensors = {}
    for part in parts:
        pieces = state[part.key].chunk(len(part.names))
        tensors |= {n: p.reshape(part.shape).contiguous() for n, p in zip(part.names, pieces, strict=True)}
    # one entry only: safetensors writes several in random order, and equal weights must be equal files
    metadata = {HASH_KEY: vae.spec.hash} if layout == "native" else {"format": "pt"}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata)
    except SafetensorError as error:
        raise FileError(f"{path}: cannot be written ({error})") from error
    except RuntimeError as error:  # safetensors refuses tensors that share memory
        raise CheckpointError(f"{path}: not written, because {str(error).strip().partition('.')[0]}") from error


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        FileError: If it cannot be read.
    """
    digest = hashlib.sha256()
    with opened(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_sha256(path: str | Path, expected: str | None) -> None:
    """Compare a file with the hash on record; None is no record.

    Raises:
        CheckpointError: If they differ.
    """
    if expected is not None and (found := sha256_of(path)) != expected:
        raise CheckpointError(f"{path}: damaged or exchanged: its sha256 is {found}, on record is {expected}")
