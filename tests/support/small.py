"""Networks of the zoo at a fraction of their width and depth: the same rows, shapes that fit a test."""

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
    """The whole network without memory, in eval mode; all tests share it, so change nothing of it."""
    return vaezoo.create(name, device="meta")


@functools.cache
def small_on_meta(name: str) -> vaezoo.VAE:
    """The small network without memory, shared in the same way."""
    return build(small_spec(name), "meta")


@functools.cache
def small_spec(name: str) -> vaezoo.ModelSpec:
    """The network with an eighth of its widths, in steps of 32, at most two layers a row, and few latent channels."""
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
    """Such a network with every tensor drawn anew, norms and statistics too."""
    return randomised(build(small_spec(name), "meta").to_empty(device="cpu").eval())


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """Every tensor drawn anew, so that no two of them can be exchanged unnoticed."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                tensor.zero_()  # how many batches a batch norm has seen
                continue
            if tensor.ndim < 2:
                tensor.uniform_(0.5, 1.5)
            else:
                tensor.normal_(std=tensor[0].numel() ** -0.5)
            if name.endswith("bias"):
                tensor.sub_(1)
    return module


def write_small(name: str, folder) -> str:
    """The small network as a YAML file; returns its path."""
    from vaezoo.nn.blocks import BLOCKS

    path = folder / f"{name}.yaml"
    path.write_text(to_yaml(small_spec(name), BLOCKS), encoding="utf-8")
    return str(path)


def in_layout(vae: vaezoo.VAE, layout: str) -> dict[str, torch.Tensor]:
    """A state dict as its authors would write it, with 3-D convolutions where the layout has them."""
    tensors, state = {}, vae.state_dict()
    for key, names, shape, _, last_frame in tensor_names_of(vae, layout):
        for name, piece in zip(names, state[key].chunk(len(names)), strict=True):
            if last_frame:
                tensors[name] = torch.randn(shape)
                tensors[name][:, :, -1] = piece
            else:
                tensors[name] = piece.reshape(shape).clone()
    return tensors
