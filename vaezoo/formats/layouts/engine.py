"""What all layouts share: names of tensors in other libraries, and the `Layout` that yields them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from vaezoo.errors import CheckpointError
from vaezoo.specs.model import ModelSpec

Shapes = Mapping[str, tuple[int, ...]]

BATCH_COUNTERS = r".*\.num_batches_tracked"  # of batch norms, which always use their stored statistics here
WRAPPED = (
    r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."  # of compiled and wrapped modules, anywhere
)
_AS_QKV = {"query": "q", "to_q": "q", "key": "k", "to_k": "k", "value": "v", "to_v": "v", "to_qkv": "qkv"}
LDM_ATTENTION = tuple(  # diffusers' names of attention, in files that otherwise keep those of latent diffusion
    (rf"(.*\.attn(?:_1|\.\d+))\.{old}\.(weight|bias)", rf"\1.{new}.\2")
    for old, new in {**_AS_QKV, "proj_attn": "proj_out", r"to_out\.0": "proj_out", "group_norm": "norm"}.items()
)


class TensorNames(NamedTuple):
    """The names of one of our tensors in a file of another library.

    Args:
        key: Our state-dict key.
        names: Names in the file; several if the file splits the tensor along its first dimension, for example into
            queries, keys and values.
        shape: Shape under each name; may have further dimensions of size 1 (a 1x1 convolution for a linear layer).
        fused: Name under which some files store in one piece what `names` splits.
        last_frame: Whether the file has a causal 3-D convolution, of which our tensor is the last slice over time.
    """

    key: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    fused: str | None = None
    last_frame: bool = False


Translate = Callable[[ModelSpec, Shapes], list[TensorNames]]


def first_of(layout: str, *options: Translate) -> Translate:
    """Return a function that translates with the first of several functions that can express a network."""

    def tensor_names(spec: ModelSpec, shapes: Shapes) -> list[TensorNames]:
        reasons = []
        for option in options:
            try:
                return option(spec, shapes)
            except CheckpointError as error:
                reasons.append(str(error))
        raise CheckpointError(f"layout {layout} has no class for {spec.label}: {'; '.join(dict.fromkeys(reasons))}")

    return tensor_names


def read_only_if_causal(spec: ModelSpec, names: list[TensorNames]) -> str | None:
    """Return why a network whose files have 3-D convolutions cannot be written; `None` if they have none."""
    if any(tensor.last_frame for tensor in names):
        return "its files hold 3-D convolutions over time, of which a network for single images keeps one slice"
    return None


def read_only_if_asymmetric(spec: ModelSpec, names: list[TensorNames]) -> str | None:
    """Return why the asymmetric autoencoder cannot be written: its decoder also holds a condition encoder.

    It is recognized by a decoder whose levels are more than one layer deeper than those of the encoder; the decoder of
    latent diffusion has exactly one layer more.
    """
    encoder, decoder = (
        [row.arguments["layers"] for row in half if row.block in ("down", "up")]
        for half in (spec.encoder, spec.decoder)
    )
    if encoder and decoder and max(decoder) > max(encoder) + 1:
        return "only the asymmetric VQGAN has such a decoder, whose condition encoder for masks vaezoo leaves out"
    return None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How another library names the tensors of a network; serves import and export.

    Args:
        about: Description in one sentence.
        tensor_names: Function of a spec and the shapes of our state dict that returns the names of each of our tensors,
            or raises `CheckpointError` if the layout cannot express the network.
        roots: How names of the encoder and of the decoder begin. A file may put any prefix before them
            (`first_stage_model.`); names without that prefix are then left out.
        ignored: Patterns of names to leave out.
        renamed: Older names as (pattern, replacement), applied before names are compared.
        statistics: Prefix of the batch norm that holds the statistics of packed latents, if files have one.
        one_frame: Whether a 5-D weight (out, in, 1, height, width) is a 2-D convolution.
        two_files: Whether encoder and decoder are separate files.
        read_only: Function of a spec and its tensor names that returns why the network can be read but not written;
            `None` if it can be written.
    """

    about: str
    tensor_names: Translate
    roots: tuple[str, str] = ("encoder.", "decoder.")
    ignored: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    statistics: str | None = None
    one_frame: bool = False
    two_files: bool = False
    read_only: Callable[[ModelSpec, list[TensorNames]], str | None] = read_only_if_causal
