"""Building a network: the limit of its size, and shapes without weights."""

import pytest
import torch
from support import meta_builds
from torch.overrides import TorchFunctionMode

import vaezoo
from vaezoo.benchmark.timing import meter
from vaezoo.errors import SpecError
from vaezoo.nn.build import build, shapes_of
from vaezoo.nn.schema import check_spec
from vaezoo.nn.stack import count_params
from vaezoo.specs.tree import Location, from_plain


@pytest.fixture(autouse=True)
def built_anew(monkeypatch):
    monkeypatch.setattr("vaezoo.nn.build._build_shapes", meta_builds.build_shapes)


def huge(rows: int) -> dict:
    mid = {"block": "mid", "out": 65_536, "layers": 64, "heads": 1, "act": "silu", "skip": "conv", "norm": "group"}
    mid |= {"groups": 1, "eps": 1e-5}
    ends = ({"block": "conv", "out": out, "kernel": 1} for out in ("moments", "image"))
    encoder, decoder = ([mid] * rows + [end] for end in ends)
    return {"image": {"channels": 3}, "latent": {"kind": "gaussian", "channels": 4}, "encoder": encoder} | {
        "decoder": decoder
    }


@pytest.mark.parametrize("make", [build, vaezoo.create])
def test_a_network_that_is_too_large_is_refused_before_anything_is_allocated(make):
    spec = check_spec(from_plain(huge(rows=1), Location("huge.yaml")))
    with meter(torch.device("cpu")) as before:
        pass
    text = r"huge.yaml: 12,\d+,\d+,\d+,\d+ parameters; the limit is 4,000,000,000"
    with meter(torch.device("cpu")) as reading, pytest.raises(SpecError, match=text):
        make(spec)
    assert reading.seconds < 10
    assert reading.peak_mib - before.peak_mib < 200


class Calls(TorchFunctionMode):
    """The names of the functions of PyTorch that are called."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))


def test_shapes_are_built_without_drawing_values_and_the_size_checked_once(monkeypatch):
    spec, counted = vaezoo.get_spec("vae_f8_z4_micro"), []
    monkeypatch.setattr("vaezoo.nn.build.count_params", lambda vae: counted.append(vae) or count_params(vae))
    shapes_of.cache_clear()
    with Calls() as calls:
        shapes = build(spec, "meta")
    assert "empty" in calls.names
    assert not any("uniform" in name for name in calls.names)
    built = [build(spec).state_dict() for _ in range(2)]
    assert len(counted) == 2  # for the meta device, and once for the CPU
    for name, tensor in shapes.state_dict().items():
        assert tensor.shape == built[0][name].shape
        assert tensor.is_meta
    assert any(not torch.equal(built[0][name], tensor) for name, tensor in built[1].items())
