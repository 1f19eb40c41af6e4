"""`register_block`: each way in which a class can break the contract is one sentence."""

from fractions import Fraction
from typing import Annotated, Literal

import pytest
import torch
from torch import nn

import vaezoo
from vaezoo.errors import InputError, SpecError
from vaezoo.nn import own_blocks
from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.layers import Channels
from vaezoo.specs import extensions
from vaezoo.specs.marks import Between

SPEC = """
image: {channels: 3}
latent: {kind: gaussian, channels: 2}
encoder:
  - {block: own, KEYS}
  - {block: conv, out: moments, kernel: 1}
decoder:
  - {block: conv, out: image, kernel: 1}
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Registered blocks are forgotten after each test."""
    monkeypatch.setattr(own_blocks, "_OWN", {})
    monkeypatch.setattr(extensions, "_modules", {})


class Own(vaezoo.Block):
    """A correct block; those of the tests differ from it in one thing."""

    def __init__(self, in_channels: int, *, out: Channels = 8) -> None:
        super().__init__()
        self.out = out
        self.conv = nn.Conv2d(in_channels, out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def with_arguments(signature: str) -> type:
    scope = {"Own": Own, "Literal": Literal, "Annotated": Annotated, "Between": Between, "Channels": Channels}
    exec(f"class Changed(Own):\n    def __init__(self, {signature}) -> None:\n        pass", scope)
    return scope["Changed"]


@pytest.mark.parametrize(
    ("signature", "fault"),
    [
        ("in_channels, **more", r"Changed takes \*\*more, and arguments must be named"),
        ("in_channels, out: int", "as its only positional argument; make out keyword-only"),
        ("*, out: int", "must take the number of input channels as its only positional argument"),
        ("in_channels, *, out: int, size", "Changed needs a type hint for size"),
        ("in_channels, *, out: 'Unknown'", "the type hints of Changed cannot be read: NameError"),
        ("in_channels, *, block: int", "an argument cannot be called block"),
        ("in_channels, *, act: object", "act has the type <class 'object'>, and a row has only numbers"),
        ("in_channels, *, sizes: list[int]", r"sizes has the type list\[int\]"),
        ("in_channels, *, out: str", r"out must be vaezoo\.nn\.layers\.Channels or int"),
        ("in_channels, *, layers: float", "layers must be int"),
    ],
)
def test_a_signature_that_cannot_be_a_row_is_refused(signature, fault):
    with pytest.raises(InputError, match=f"^register_block: own: .*{fault}"):
        vaezoo.register_block("own", with_arguments(signature))
    assert "own" not in BLOCKS


def test_names_and_classes_are_checked():
    with pytest.raises(InputError, match="'a b' is not a name"):
        vaezoo.register_block("a b", Own)
    with pytest.raises(InputError, match=r"conv is a block of vaezoo\.nn\.single_layers already"):
        vaezoo.register_block("conv", Own)
    with pytest.raises(InputError, match=r"expected a subclass of vaezoo\.Block, got <class 'torch\.nn\.\S*Conv2d'>"):
        vaezoo.register_block("own", nn.Conv2d)


@pytest.mark.parametrize(
    "signature",
    [
        "in_channels, *, out: Channels, kind: Literal['a', 'b'] | None = None, sizes: tuple[int, ...] = ()",
        "in_channels, *, out: Annotated[int, Between(1, 8)], layers: Annotated[int, Between(1, 4)] = 1",
    ],
)
def test_every_type_of_a_row_is_accepted(signature):
    vaezoo.register_block("own", with_arguments(signature))


def test_a_notebook_cell_that_runs_again_replaces_its_class():
    vaezoo.register_block("own", Own)
    first = create("out: 8")

    class Own2(Own):
        def __init__(self, in_channels: int, *, out: Channels = 8) -> None:
            super().__init__(in_channels, out=out)
            self.more = nn.Conv2d(in_channels, out, 3)

    Own2.__qualname__ = Own.__qualname__
    vaezoo.register_block("own", Own2)
    assert vaezoo.describe(first.spec, 16).costs.rows[0].params == 32 + 224
    with pytest.raises(InputError, match="own is a block of"):
        vaezoo.register_block("own", with_arguments("in_channels, *, out: int"))


def create(keys: str) -> vaezoo.VAE:
    from vaezoo.nn.build import build
    from vaezoo.nn.schema import check_spec
    from vaezoo.specs.parse import parse_yaml

    return build(check_spec(parse_yaml(SPEC.replace("KEYS", keys), "own.yaml")))


def changed(init: str = "super().__init__(in_channels, out=out)", forward: str = "return self.conv(x)") -> type:
    code = "class Changed(Own):\n    def __init__(self, in_channels: int, *, out: Channels = 8) -> None:\n"
    scope = {"Own": Own, "Channels": Channels, "Fraction": Fraction, "nn": nn, "torch": torch}
    exec(f"{code}        {init}\n    def forward(self, x):\n        {forward}", scope)
    return scope["Changed"]


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        (changed("nn.Module.__init__(self)"), "Changed must set out to its number of output channels, and out is None"),
        (changed("super().__init__(in_channels, out=out); self.scale = 0.5"), "Fraction such as .*and scale is 0.5"),
        (changed("super().__init__(in_channels, out=out); self.scale = Fraction(2, 3)"), "to a whole number"),
        (changed("super().__init__('x', out=out)"), "Changed cannot be built: TypeError: "),
        (changed(forward="return x"), r"maps \(2, 3, 16, 16\) to \(2, 3, 16, 16\); .*must be \(2, 8, 16, 16\)"),
        (changed(forward="return (x,)"), r"to tuple; with its out"),
        (changed(forward="return self.nothing"), "Changed.forward fails on images of shape .*: AttributeError: "),
        (changed(forward="raise KeyError(3)"), "meta device: KeyError: 3"),
    ],
)
def test_a_block_that_breaks_the_contract_is_refused_where_it_is_built(block, fault):
    vaezoo.register_block("own", block)
    with pytest.raises(SpecError, match=rf"own\.yaml:5:5: encoder\[0\]: own: {fault}|own\.yaml.*own: .*{fault}"):
        create("out: 8")
