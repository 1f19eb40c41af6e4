"""Blocks from outside the package: `register_block`, and the checks of the contract that their classes keep."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, Union

import torch
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.nn.base import Block
from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.layers import Channels
from vaezoo.specs.catalog import is_name
from vaezoo.specs.check import Field, fields_of
from vaezoo.specs.extensions import USER_CODE_ERRORS, import_blocks, remember_module, zoo_packages
from vaezoo.specs.marks import Pattern
from vaezoo.specs.model import HALVES, ModelSpec

_PLAIN = (int, float, bool, str, type(None))
_CHANNELS = (int, Channels)
_MODULE = Pattern(re.compile(r"[\w.]{1,200}"), "the name of a module")
_PACKAGE = Pattern(re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII), "the name of a package")
_OWN: dict[str, type[Block]] = {}  # the entries of `BLOCKS` that `register_block` added
caches_by_spec: list[Callable[[], None]] = []  # called when a notebook replaces a class, which no spec shows


@dataclass(frozen=True, kw_only=True)
class BlockOrigin:
    """Where a block that is not of vaezoo comes from, also as an entry of `config.json`.

    Args:
        module: The module that defines its class.
        package: The installed package that brings the module; `None` if it is no package with an entry point.
    """

    module: Annotated[str, _MODULE]
    package: Annotated[str, _PACKAGE] | None = None

    def __str__(self) -> str:
        return f"the package {self.package}" if self.package else f"the module {self.module}"

    def to_dict(self) -> dict[str, str]:
        """Return the origin as plain data, without what is `None`."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def register_block(name: str, block: type[Block]) -> None:
    """Add a block of your own, which the rows of a network then use like those of vaezoo.

    Call it when your module is imported: commands import the module with `--import my_blocks`, and packages name it as
    an entry point of the group `vaezoo.zoo` (docs/extending.md). Processes that vaezoo starts import it, too.

    Args:
        name: The name for `block:` in rows.
        block: A subclass of `vaezoo.Block`, which

            - takes the number of input channels as its only positional argument, and all else as keyword-only
              arguments with type hints: these are the keys of its rows. Hints are `int`, `float`, `bool`, `str`,
              `Literal`, `tuple[T, ...]` and unions with `None`, bounded by `Annotated` and the marks of
              `vaezoo.specs.marks`; the number of output channels is `out: vaezoo.nn.layers.Channels`, so that rows may
              write `image`, `latent` or `moments`;
            - raises `ValueError` for values that do not fit together, with a sentence for the author of the network;
            - sets `out`, its number of output channels, and `scale`, a `Fraction`, unless it is 1;
            - maps (B, in_channels, H, W) to (B, out, H * scale, W * scale) for any batch and size, in `forward`.

            A default of an argument is part of the networks that leave it out, so it must not change later.

    Raises:
        InputError: If the name is taken or the class breaks this contract; the text says how.

    Examples:
        >>> import vaezoo
        >>> from vaezoo.nn.layers import Channels
        >>> class Mix(vaezoo.Block):
        ...     def __init__(self, in_channels: int, *, out: Channels) -> None:
        ...         super().__init__()
        ...         self.out = out
        ...         self.conv = torch.nn.Conv2d(in_channels, out, 1)
        ...
        ...     def forward(self, x):
        ...         return self.conv(x)
        >>> vaezoo.register_block("mix", Mix)
    """
    if not isinstance(name, str) or not is_name(name):
        raise InputError(f"register_block: {name!r} is not a name; expected letters, digits and _, such as gate")
    if name in BLOCKS and not _is_again(name, block):
        module = BLOCKS[name].__module__
        raise InputError(f"register_block: {name} is a block of {module} already; choose another name")
    if fault := _class_fault(block):
        raise InputError(f"register_block: {name}: {fault}")
    if BLOCKS.get(name, block) is not block:
        for clear in caches_by_spec:
            clear()
    BLOCKS[name] = _OWN[name] = block
    remember_module(block.__module__)


def _is_again(name: str, block: Any) -> bool:
    """Whether a class stands for the registered one, because its module or notebook cell ran again."""
    known, new = (f"{getattr(c, '__module__', '')}.{getattr(c, '__qualname__', '')}" for c in (BLOCKS[name], block))
    return name in _OWN and known == new


def _class_fault(block: Any) -> str | None:
    """Return how a class breaks the contract of `register_block`, or `None`."""
    if not isinstance(block, type) or not issubclass(block, Block):
        return f"expected a subclass of vaezoo.Block, got {block!r:.100}"
    parameters = list(inspect.signature(block).parameters.values())
    kinds = [parameter.kind for parameter in parameters]
    if parameter := next((p for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)), None):
        return f"{block.__name__} takes {parameter}, and arguments must be named, because they are the keys of its rows"
    positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    if len(positional) != 1:
        extra = f"; make {', '.join(positional[1:])} keyword-only, with a * before" if kinds[1:] else ""
        return f"{block.__name__} must take the number of input channels as its only positional argument{extra}"
    untyped = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.annotation is p.empty]
    if untyped:
        return f"{block.__name__} needs a type hint for {', '.join(untyped)}"
    try:
        fields = fields_of(typing.cast(type, block))
    except USER_CODE_ERRORS as error:
        return f"the type hints of {block.__name__} cannot be read: {type(error).__name__}: {error}"
    return next((f"{block.__name__}: {fault}" for key, field in fields.items() if (fault := _fault(key, field))), None)


def _fault(key: str, field: Field) -> str | None:
    """Return why an argument cannot be the key of a row, or `None`."""
    if key == "block":
        return "an argument cannot be called block, which is the key that names the block"
    if not _is_plain(field.hint):
        return f"{key} has the type {field.hint}, and a row has only numbers, text, true, false, null and lists of them"
    if key == "out" and field.hint not in _CHANNELS and _base(field.hint) is not int:
        return "out must be vaezoo.nn.layers.Channels or int, the number of output channels"
    if key == "layers" and _base(field.hint) is not int:
        return "layers must be int, because the layers of a network are counted"
    return None


def _base(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _is_plain(hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _is_plain(arguments[0])
    if origin in (Union, types.UnionType):
        return all(map(_is_plain, arguments))
    if origin is tuple:
        return len(arguments) == 2 and arguments[1] is ... and _is_plain(arguments[0])
    return origin is Literal or hint in _PLAIN


def import_missing(names: Iterable[str]) -> None:
    """Import the modules of blocks from outside, if a name is not that of a known block."""
    if not BLOCKS.keys() >= set(names):
        import_blocks()


def origins_of(spec: ModelSpec) -> dict[str, BlockOrigin]:
    """Return the blocks of a network that are not of vaezoo, and where they come from."""
    names = dict.fromkeys(row.block for half in HALVES for row in getattr(spec, half) if row.block in _OWN)
    return {name: origin_of(name) for name in names}


def origin_of(name: str) -> BlockOrigin:
    """Return where a registered block comes from."""
    module = _OWN[name].__module__
    top = module.partition(".")[0]
    packages = (package for package in zoo_packages() if package.module.partition(".")[0] == top)
    return BlockOrigin(module=module, package=next((package.package for package in packages), None))


def is_known(name: str) -> bool:
    """Return whether there is a block of this name, of vaezoo or from outside."""
    return name in BLOCKS


def is_own(name: str) -> bool:
    """Return whether a block was added by `register_block`."""
    return name in _OWN


def built_fault(name: str, block: Block) -> str | None:
    """Return how a built block breaks the contract, or `None`."""
    out, scale = getattr(block, "out", None), getattr(block, "scale", None)
    if not isinstance(out, int) or isinstance(out, bool) or out < 1:
        return f"{name}: {type(block).__name__} must set out to its number of output channels, and out is {out!r}"
    if not isinstance(scale, int | Fraction) or scale <= 0 or 1 not in Fraction(scale).as_integer_ratio():
        text = "must set scale to a whole number or to a Fraction such as Fraction(1, 2)"
        return f"{name}: {type(block).__name__} {text}, and scale is {scale!r}"
    return None


def forward_fault(name: str, block: Block, in_channels: int) -> str | None:
    """Run a block on the meta device, on which it was built, and return how it breaks the contract, or `None`."""
    side, scale = 16 * Fraction(block.scale).denominator, Fraction(block.scale)
    expected = (2, block.out, int(side * scale), int(side * scale))
    try:
        with torch.no_grad():
            result = block(torch.empty(2, in_channels, side, side, device="meta"))
    except USER_CODE_ERRORS as error:
        text = f"fails on images of shape (2, {in_channels}, {side}, {side}) on the meta device"
        return f"{name}: {type(block).__name__}.forward {text}: {type(error).__name__}: {error}"
    found = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
    if found != expected:
        text = f"maps (2, {in_channels}, {side}, {side}) to {found}; with its out and scale it must be {expected}"
        return f"{name}: {type(block).__name__}.forward {text}"
    return None
