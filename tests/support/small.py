"""Networks of the zoo with the same rows at a fraction of their width and depth."""

import functools

import torch

import vaezoo
from vaezoo.nn.build import build
from vaezoo.nn.schema import check_spec
from vaezoo.specs.model import HALVES
from vaezoo.specs.render import to_yaml
from vaezoo.specs.tree import Location, from_plain
from vaezoo.weights.load import tensor_names_of


@functools.cache
def on_meta(name: str) -> vaezoo.VAE:
    """Return the full network on the meta device, in eval mode; all tests share it, so none may change it."""
    return vaezoo.create(name, device="meta")


@functools.cache
def small_on_meta(name: str) -> vaezoo.VAE:
    """Return the small network on the meta device, shared in the same way."""
    return build(small_spec(name), "meta")


@functools.cache
def small_spec(name: str) -> vaezoo.ModelSpec:
    """Return the spec with an eighth of the channels, in steps of 32, and at most two layers per row."""
    data = vaezoo.get_spec(name).to_dict()
    data["latent"]["channels"] = max(2, data["latent"]["channels"] // 8)
    depth = {
        half: max((row["layers"] for row in data[half] if row["block"] in ("down", "up")), default=0) for half in HALVES
    }
    deepest = 4 if depth["decoder"] > depth["encoder"] + 1 else 2  # a decoder that only the asymmetric class has
    for half in HALVES:
        for row, after in zip(data[half], [*data[half][1:], {}], strict=True):
            for key in {"out", "resample_out"} & row.keys():
                if isinstance(row[key], int) and after.get("block") != "inverse_haar":  # which makes them an image
                    row[key] = 32 * -(-row[key] // 256)
            if "layers" in row and row["block"] != "mid":
                row["layers"] = min(row["layers"], deepest if half == "decoder" else 2)
    return check_spec(from_plain(data, Location(name)), name)


def small_vae(name: str) -> vaezoo.VAE:
    """Return the small network with random values in every tensor, including norms and statistics."""
    return randomized(build(small_spec(name), "meta").to_empty(device="cpu").eval())


def randomized(module: torch.nn.Module) -> torch.nn.Module:
    """Fill every tensor with random values, so that swapping any two is noticed."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                tensor.zero_()  # num_batches_tracked of a batch norm
                continue
            if tensor.ndim < 2:
                tensor.uniform_(0.5, 1.5)
            else:
                tensor.normal_(std=tensor[0].numel() ** -0.5)
            if name.endswith("bias"):
                tensor.sub_(1)
    return module


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """Return whether two modules have the same tensors under the same names, bit by bit."""
    tensors, others = a.state_dict(), b.state_dict()
    return tensors.keys() == others.keys() and all(torch.equal(tensors[key], others[key]) for key in tensors)


def write_small(name: str, folder) -> str:
    """Write the small network as a YAML file and return its path."""
    from vaezoo.nn.blocks import BLOCKS

    path = folder / f"{name}.yaml"
    path.write_text(to_yaml(small_spec(name), BLOCKS), encoding="utf-8")
    return str(path)


def in_layout(vae: vaezoo.VAE, layout: str) -> dict[str, torch.Tensor]:
    """Return the state dict in a foreign layout, with 3-D convolutions where the layout has them."""
    tensors, state = {}, vae.state_dict()
    for key, names, shape, _, last_frame in tensor_names_of(vae, layout):
        for name, piece in zip(names, state[key].chunk(len(names)), strict=True):
            if last_frame:
                tensors[name] = torch.randn(shape)
                tensors[name][:, :, -1] = piece
            else:
                tensors[name] = piece.reshape(shape).clone()
    return tensors
