"""Round trips of every network through every layout that can express it, and what layouts leave out or refuse."""

import functools
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.representatives import family, first_of, one_of_each
from support.small import in_layout, on_meta, same_weights, small_on_meta, small_vae, write_small

import vaezoo
from vaezoo.errors import CheckpointError
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.specs.catalog import files
from vaezoo.weights.load import tensor_names_of


def layouts_of(name: str) -> list[str]:
    """The layouts that can express a network."""
    vae, found = small_on_meta(name), []
    for layout in LAYOUTS:
        try:
            tensor_names_of(vae, layout)
            found.append(layout)
        except CheckpointError:
            continue
    return found


def is_written(name: str, layout: str) -> bool:
    """Whether a layout that can express a network can also be written."""
    vae = small_on_meta(name)
    return LAYOUTS[layout].read_only(vae.spec, tensor_names_of(vae, layout)) is None


PAIRS = [(name, layout) for name in files("models") for layout in layouts_of(name) if layout != "native"]
WRITTEN = [(name, layout) for name, layout in PAIRS if is_written(name, layout)]
FOREIGN = [name for name in files("models") if not name.startswith("vae_")]


@functools.lru_cache(maxsize=1)  # the layouts of one network follow each other
def shared_vae(name: str) -> vaezoo.VAE:
    """A small network with random values, which no test may change."""
    return small_vae(name)


def path_for(tmp_path, layout: str, name: str = "x") -> str:
    """Return the path for a file of a layout, or two joined by a comma."""
    one = f"{tmp_path}/{name}.safetensors"
    return (
        f"{tmp_path}/{name}_encoder.safetensors,{tmp_path}/{name}_decoder.safetensors"
        if LAYOUTS[layout].two_files
        else one
    )


def all_tensors(path: str) -> dict[str, torch.Tensor]:
    return {f"{file}{key}": tensor for file in path.split(",") for key, tensor in load_file(file).items()}


def test_every_published_network_has_a_foreign_layout():
    assert {name for name, _ in PAIRS} >= set(FOREIGN)
    assert {layout for _, layout in PAIRS} == LAYOUTS.keys() - {"native"}


@pytest.mark.parametrize(("name", "layout"), one_of_each(PAIRS, lambda pair: (family(pair[0]), pair[1])))
def test_a_layout_names_every_tensor_once_and_cuts_nothing_off(name, layout):
    vae = on_meta(name)
    translated, state = tensor_names_of(vae, layout), vae.state_dict()
    names = [foreign for tensor in translated for foreign in tensor.names]
    assert len(set(names)) == len(names)
    assert [tensor.key for tensor in translated] == list(state)
    for key, names, shape, _, last_frame in translated:
        theirs = torch.empty(shape, device="meta").numel() * len(names)
        assert theirs == state[key].numel() * (shape[2] if last_frame else 1)


@pytest.mark.parametrize(
    ("name", "layout"),
    one_of_each(WRITTEN, lambda pair: pair[1]),
)
def test_a_network_goes_to_a_layout_and_back_without_losing_a_bit(name, layout, tmp_path):
    vae, path, network = shared_vae(name), path_for(tmp_path, layout), write_small(name, tmp_path)
    vaezoo.export_checkpoint(vae, path, layout=layout)
    again = vaezoo.create(f"file:{path}", network=network, layout=layout)
    state = again.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in vae.state_dict().items())
    vaezoo.export_checkpoint(again, path_for(tmp_path, layout, "y"), layout=layout)
    before, after = all_tensors(path), all_tensors(path_for(tmp_path, layout, "y"))
    assert [(key.rpartition("/")[2][1:], t.shape) for key, t in before.items()] == [
        (key.rpartition("/")[2][1:], t.shape) for key, t in after.items()
    ]
    assert all(torch.equal(a, b) for a, b in zip(before.values(), after.values(), strict=True))


@pytest.mark.parametrize(
    ("name", "layout", "why"),
    [
        ("qwenimage_f8_z16", "wan", "3-D convolutions over time"),
        ("qwenimage_f8_z16", "diffusers", "3-D convolutions over time"),
        ("asym_x2_f8_z4", "diffusers", "condition encoder"),
    ],
)
def test_a_layout_that_leaves_something_out_is_not_written(name, layout, why, tmp_path):
    with pytest.raises(CheckpointError, match=f"layout {layout} of {name} can be read, not written: .*{why}"):
        vaezoo.export_checkpoint(small_vae(name), tmp_path / "x.safetensors", layout=layout)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("layout", "over_time"),
    first_of(
        [
            ("wan", "encoder.downsamples.5.time_conv.weight"),
            ("diffusers", "decoder.up_blocks.0.upsamplers.0.time_conv.weight"),
        ]
    ),
)
def test_of_a_causal_3d_convolution_the_last_slice_is_taken_and_those_over_time_are_dropped(
    layout, over_time, tmp_path, caplog
):
    vae, network = small_vae("qwenimage_f8_z16"), write_small("qwenimage_f8_z16", tmp_path)
    tensors = in_layout(vae, layout)
    assert sum(tensor.ndim == 5 for tensor in tensors.values()) > 20
    tensors[over_time] = torch.zeros(2, 2, 3, 1, 1)
    tensors = {name: t[..., None, None, None] if name.endswith("gamma") else t for name, t in tensors.items()}
    save_file(tensors, tmp_path / "x.safetensors")
    with caplog.at_level(logging.INFO, "vaezoo"):
        again = vaezoo.create(f"file:{tmp_path}/x.safetensors", network=network, layout=layout)
    assert same_weights(again, vae)
    assert "left out by rule: *.time_conv.*: 1" in caplog.text


@pytest.mark.parametrize(
    ("name", "layout", "changes"),
    [
        *[("ldm_f8_z4", layout, {"*.*.eps": 1e-5}) for layout in ("ldm", "diffusers", "bfl")],
        *[("ldm_f8_z4", layout, {"encoder.*.skip": "conv"}) for layout in ("ldm", "diffusers")],
        *[("ldm_f8_z4", layout, {"encoder.1.resample": "conv_4x4"}) for layout in ("ldm", "diffusers")],
        *[("ldm_f8_z4", layout, {"encoder.6.shortcut": "average"}) for layout in ("ldm", "diffusers")],
        *[("ldm_f8_z4", layout, {"decoder.2.heads": 4}) for layout in ("ldm", "diffusers")],
        *[("ldm_f8_z4", layout, {"decoder.2.layers": 2}) for layout in ("ldm", "diffusers")],
        ("ldm_f8_z4", "ldm", {"*.*.groups": 16}),
        ("ldm_f8_z4", "diffusers", {"latent.kind": "deterministic"}),
        ("cosmos_f8_z16", "diffusers", {}),
        ("hunyuanimage_f32_z64", "hunyuan", {"encoder.8.shortcut": None}),
        ("hunyuanimage_f32_z64", "diffusers", {"encoder.1.heads": 1}),
        ("sana_f32_z32", "dc_ae", {"encoder.4.head_channels": 16}),
        ("sana_f32_z32", "dc_ae", {"encoder.7.shortcut": None}),
        ("sana_f32_z32", "dc_ae", {"encoder.4.kernels": [3, 5]}),
        ("ldm_f8_z4", "ldm", {"decoder.3.resample": "nearest_conv_3x3", "decoder.6.resample": None}),
        ("taesd_f8_z4", "taesd", {"encoder.0.gain": 1.0}),
        ("taesd_f8_z4", "diffusers", {"decoder.0.limit": 4.0}),
        ("taef2_f8_z32", "diffusers", {}),
        ("taesana_f32_z32", "diffusers", {}),
    ],
)
def test_a_network_that_a_layout_cannot_express_is_refused(name, layout, changes, tmp_path):
    with torch.device("meta"):
        vae = vaezoo.create(name, overrides=changes)
    with pytest.raises(CheckpointError, match=f"layout {layout}") as caught:
        tensor_names_of(vae, layout)
    assert all(key.rpartition(".")[2] in str(caught.value) for key in changes)
