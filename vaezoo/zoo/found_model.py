"""From what a name stands for to the model: the network with the weights that were found."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from vaezoo.errors import InputError
from vaezoo.nn.build import build
from vaezoo.nn.schema import change_spec
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import ModelSpec
from vaezoo.warmstart.widen import widen
from vaezoo.weights.load import load_into
from vaezoo.weights.tensors import merge_statistics
from vaezoo.zoo.find import Found, FoundWeights


def model_of(
    found: Found, overrides: Mapping[str, Any], dtype: torch.dtype | None, device: torch.device, part: str | None
) -> VAE:
    """The network found with `overrides`, with the weights found if there are any, in eval mode.

    Args:
        found: What a name stands for.
        overrides: Changes to the network.
        dtype: Dtype of the weights; `None` keeps that of the file.
        device: Device of the weights.
        part: The only half to load and allocate; `None` means both.

    Raises:
        SpecError: If an override has faults.
        InputError: If weights are asked for on the meta device, or for a half of a widened network.
        CheckpointError: If the weights are damaged or made for another network.
    """
    spec = change_spec(found.spec, overrides) if overrides else found.spec
    if found.weights is None:
        return build(spec, device, part).to(dtype or torch.float32).eval()
    if device.type == "meta":
        raise InputError(
            "the meta device holds no values, so weights cannot be loaded to it: pass device='cpu' or another device, "
            "or create the network with pretrained=False"
        )
    return _with_weights(found, found.weights, spec, overrides, dtype, device, part).eval()


def _with_weights(
    found: Found,
    weights: FoundWeights,
    spec: ModelSpec,
    overrides: Mapping[str, Any],
    dtype: torch.dtype | None,
    device: torch.device,
    part: str | None,
) -> VAE:
    """The network `spec`, which is the one found with `overrides`, with the weights found."""
    fitting, wider = spec, spec.latent.channels > found.spec.latent.channels
    if wider and part:
        text = f"part={part!r}: widening latents changes both halves; create the model without part="
        raise InputError(f"{text}, save it, and load a half of that folder")
    if wider:
        others = {path: value for path, value in overrides.items() if path != "latent.channels"}
        fitting = change_spec(found.spec, others) if others else found.spec
    vae = found.meta if found.meta and fitting is found.spec else build(fitting, "meta")
    with _meanwhile(weights.check):
        stored = load_into(vae, weights.path, weights.layout, found.spec.hash, dtype, device, weights.header, part)
    if wider:
        vae = widen(vae, spec)  # new weights, without a source
    else:
        vae.source = found.source
    if (spec.encoder, spec.latent) == (found.spec.encoder, found.spec.latent):
        vae.latent_stats = merge_statistics(stored, weights.stats, weights.path)
        vae.statistics_remedy = weights.remedy or vae.statistics_remedy
    return vae


@contextlib.contextmanager
def _meanwhile(check: Callable[[], None] | None) -> Iterator[None]:
    """Run the check of a file in a thread during a block; its error replaces one of the block, because it says why."""
    if check is None:
        yield
        return
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(check)
        try:
            yield
        finally:
            done.result()
