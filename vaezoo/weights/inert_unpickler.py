"""An unpickler that imports nothing: tensors become descriptions, and all other objects inert stand-ins.

`pickle` runs code because a pickle names functions, which are imported (`find_class`) and called (`REDUCE`, `NEWOBJ`,
`BUILD`, `INST`, `OBJ`). Each of these steps is replaced here. What can be called is the table `_REBUILD`, whose
functions only fill in descriptions. Tensor values are not part of the pickle; `torch_files` reads them.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch

_STORAGES = {  # PyTorch's names of typed storages
    **{"DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16},
    **{"BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32},
    **{"ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool},
    **{"ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128},
    **{"UntypedStorage": torch.uint8},
}
_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}


class PickledStorage(NamedTuple):
    """The memory of one or more tensors.

    Args:
        key: Its name in the file.
        dtype: Dtype of its elements.
        numel: Number of its elements.
    """

    key: str
    dtype: torch.dtype
    numel: int


class PickledTensor(NamedTuple):
    """The description of a tensor; `storage` is `None` for sparse, quantized, nested and meta tensors."""

    storage: PickledStorage | None
    dtype: torch.dtype = torch.float32
    offset: int = 0
    size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()


_PLAIN = (str, int, float, bytes, type(None))  # keys of mappings; hashing nested tuples can take forever
_LARGEST = 1 << 40  # of a size or stride


class StandIn:
    """Stands for a class, function or object that a pickle asks for: it has its name and does nothing.

    Args:
        name: Module and name, as in the pickle.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def append(self, item: object) -> None:
        """Ignore an item of a list."""

    def extend(self, items: object) -> None:
        """Ignore items of a list."""

    def __setitem__(self, key: object, value: object) -> None:
        """Ignore an entry of a mapping."""


class _Rebuild(NamedTuple):
    """An entry of `_REBUILD`; a type of its own, so that no other value of a pickle can be called."""

    function: Callable[..., Any]


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> PickledTensor:
    return _typed_tensor(storage, offset, size, stride, None, None, storage.dtype)


def _typed_tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> PickledTensor:
    dtype = rest[2]
    numbers = (offset, *size, *stride)
    if not isinstance(storage, PickledStorage) or not isinstance(dtype, torch.dtype) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor without a storage")
    if len(size) > 64 or not all(type(number) is int and 0 <= number <= _LARGEST for number in numbers):
        raise pickle.UnpicklingError("a tensor with an impossible shape")
    return PickledTensor(storage, dtype, offset, tuple(size), tuple(stride))


def _first(data: Any, *_: Any) -> Any:
    return data


def _without_values(*_: Any) -> PickledTensor:
    return PickledTensor(None)


def _from_type(function: Any, _kind: Any, arguments: Any, *_: Any) -> Any:
    return _call(function, arguments)


def _encoded(text: Any, *_: Any) -> bytes:
    return bytes(text, "latin1")  # how protocol 2 stores bytes


def _ordered(items: Any = (), *_: Any) -> OrderedDict[Any, Any]:
    return OrderedDict((_as_key(key), value) for key, value in items)  # Python 2 passes lists of pairs


def _as_key(key: Any) -> Any:
    return key if isinstance(key, _PLAIN) else StandIn(type(key).__name__)


_REBUILD = {
    **{f"torch._utils._rebuild_tensor{version}": _Rebuild(_tensor) for version in ("", "_v2")},
    "torch._utils._rebuild_tensor_v3": _Rebuild(_typed_tensor),
    **{f"torch._utils._rebuild_parameter{suffix}": _Rebuild(_first) for suffix in ("", "_with_state")},
    **{
        f"torch._utils._rebuild_{kind}": _Rebuild(_without_values)
        for kind in (
            *("sparse_tensor", "sparse_csr_tensor", "qtensor", "meta_tensor_no_storage", "nested_tensor"),
            *("wrapper_subclass", "device_tensor_from_numpy", "device_tensor_from_cpu_tensor"),
        )
    },
    "torch._tensor._rebuild_from_type_v2": _Rebuild(_from_type),
    "torch.Size": _Rebuild(tuple),
    "_codecs.encode": _Rebuild(_encoded),
    "collections.OrderedDict": _Rebuild(_ordered),
}


def _call(function: Any, arguments: Any) -> Any:
    """Stand for the result of a call, unless the function is one of `_REBUILD`."""
    if isinstance(function, _Rebuild):
        return function.function(*arguments)
    return StandIn(function.name if isinstance(function, StandIn) else type(function).__name__)


class InertUnpickler(pickle._Unpickler):  # in Python: the one in C allocates memory for any memo index in the file
    """Reads one pickle of `torch.save`.

    Args:
        file: The pickle, and possibly more after it.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="latin1")  # for Python 2; names of tensors are ASCII
        self.storages: dict[str, PickledStorage] = {}
        self.stand_ins: dict[str, StandIn] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return an entry of `_REBUILD`, a dtype or a stand-in; nothing is imported."""
        full = f"{module}.{name}"
        if full in _REBUILD:
            return _REBUILD[full]
        if module in ("torch", "torch.cuda", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        return self.stand_ins.setdefault(full, StandIn(full))

    def get_extension(self, code: int) -> None:
        """Push a stand-in for a registered extension."""
        self.append(StandIn(f"extension {code}"))

    def persistent_load(self, pid: Any) -> PickledStorage:
        """Return the description of a storage; nothing else is persistent in files of PyTorch."""
        kind, dtype, key, _, numel, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or type(key) not in (str, int):
            raise pickle.UnpicklingError("a persistent object that is not a storage")
        if type(numel) is not int or any(part is not None for part in view):
            raise pickle.UnpicklingError("a view of a storage, as PyTorch wrote it before version 0.4")
        storage = PickledStorage(str(key), dtype, numel)
        return self.storages.setdefault(storage.key, storage)

    def load_reduce(self) -> None:
        """REDUCE: call a function with a tuple of arguments."""
        arguments = self.stack.pop()
        self.stack[-1] = _call(self.stack[-1], arguments)

    def load_newobj(self) -> None:
        """NEWOBJ: make an object of a class."""
        self.load_reduce()

    def load_newobj_ex(self) -> None:
        """NEWOBJ_EX: make an object of a class, with keyword arguments."""
        self.stack.pop()
        self.load_reduce()

    def load_build(self) -> None:
        """BUILD: set the state of an object."""
        self.stack.pop()

    def _instantiate(self, klass: Any, args: Any) -> None:  # INST and OBJ
        self.append(_call(klass, args))

    def load_setitem(self) -> None:
        """SETITEM: add an entry to a mapping."""
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][_as_key(key)] = value

    def load_setitems(self) -> None:
        """SETITEMS: add entries to a mapping."""
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][_as_key(key)] = value

    def load_dict(self) -> None:
        """DICT: make a mapping of the entries on the stack."""
        items = self.pop_mark()
        self.append({_as_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)})

    def load_empty_set(self) -> None:
        """EMPTY_SET: push a list in place of a set, whose items would be hashed."""
        self.append([])

    def load_additems(self) -> None:
        """ADDITEMS: add items to what stands for a set."""
        items = self.pop_mark()
        self.stack[-1].extend(items)

    def load_frozenset(self) -> None:
        """FROZENSET: push a list in place of a set."""
        items = self.pop_mark()  # changes what self.append appends to
        self.append(items)

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.EMPTY_SET[0]] = load_empty_set
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.FROZENSET[0]] = load_frozenset
