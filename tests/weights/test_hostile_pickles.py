"""Pickles that try to run code, to exhaust memory, or are damaged; checkpoints of the time of latent diffusion."""

import argparse
import builtins
import collections
import io
import os
import pickle
import random
import resource
import struct
import zipfile

import numpy
import pytest
import torch
from safetensors.torch import load_file

from vaezoo.errors import CheckpointError
from vaezoo.weights.inert_unpickler import InertUnpickler, StandIn
from vaezoo.weights.pickles import from_pickle, read_pickle


class Calls:
    """An object whose pickle calls a function with arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class ModelCheckpoint(dict):
    """Stands for a callback of Lightning: a mapping with attributes, that may be a key."""

    __hash__ = object.__hash__


def lightning(state: dict) -> dict:
    """A checkpoint as Lightning wrote it for latent diffusion, with much more than tensors."""
    callback = ModelCheckpoint(best=1.0)
    callback.path = "last.ckpt"
    return {
        "epoch": 3,
        "state_dict": state,
        "callbacks": {
            ModelCheckpoint: {"best_model_score": torch.tensor(0.5), "monitor": "val/rec_loss"},
            "x": callback,
        },
        "lr_schedulers": [{"last_lr": numpy.float64(4.5e-6), "base": numpy.arange(3)}],
        "hyper_parameters": argparse.Namespace(lr=numpy.float32(1e-4), tags={"a", "b"}, kinds=frozenset("c")),
        "loops": collections.defaultdict(list, {"fit": [complex(1, 2)]}),
        "counts": collections.Counter("abc"),
        "queue": collections.deque([1, 2]),
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_tensors_beside_objects_of_other_libraries_are_read_and_the_objects_are_not_built(tmp_path, protocol, zipped):
    state = {"encoder.w": torch.randn(3, 4).T, "half": torch.randn(5).half(), "n": torch.tensor(7)}
    state["parameter"] = torch.nn.Parameter(torch.randn(2, 2).bfloat16())
    options = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": zipped}
    torch.save(lightning(state), tmp_path / "last.ckpt", **options)
    with pytest.raises(CheckpointError):
        read_pickle(tmp_path / "last.ckpt")  # PyTorch's restricted reader
    found = from_pickle(tmp_path / "last.ckpt", tmp_path / "out.safetensors")
    assert found.taken == ("state_dict", 4)
    assert "argparse.Namespace" in found.stand_ins
    assert any(name.endswith("ModelCheckpoint") for name in found.stand_ins)
    written = load_file(tmp_path / "out.safetensors")
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in state.items())


HOSTILE = {
    "os.system": lambda folder: Calls(os.system, f"mkdir {folder}/trapped"),
    "os.mkdir": lambda folder: Calls(os.mkdir, f"{folder}/trapped"),
    "builtins.eval": lambda folder: Calls(builtins.eval, f"__import__('os').mkdir('{folder}/trapped')"),
    "builtins.exec": lambda folder: Calls(builtins.exec, f"import os; os.mkdir('{folder}/trapped')"),
    "nested": lambda folder: [{"x": (Calls(getattr, Calls(map, "os"), "mkdir"), Calls(os.mkdir, f"{folder}/trap"))}],
    "torch.hub": lambda folder: Calls(torch.hub.load_state_dict_from_url, "http://127.0.0.1:1/x", f"{folder}/trapped"),
    "numpy.load": lambda folder: Calls(numpy.save, f"{folder}/trapped", [1]),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_that_a_pickle_calls_is_run_or_imported(tmp_path, name, zipped):
    data = {"state_dict": {"w": torch.ones(2), "trap": HOSTILE[name](tmp_path)}, "trap": HOSTILE[name](tmp_path)}
    torch.save(data, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)
    assert from_pickle(tmp_path / "x.ckpt", tmp_path / "y.safetensors").taken == ("state_dict", 1)
    assert not list(tmp_path.glob("trap*"))


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(S'exit 3'\ntR.",  # REDUCE
        b"(S'exit 3'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'exit 3'\no.",  # OBJ
        b"\x80\x02cos\nsystem\nX\x06\x00\x00\x00exit 3\x85\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x06exit 3\x85}\x92.",  # STACK_GLOBAL, NEWOBJ_EX
        b"\x80\x02ctorch\nload\n}X\x08\x00\x00\x00__code__K\x01sb.",  # BUILD
    ],
)
def test_every_operation_that_calls_makes_a_stand_in(code):
    assert isinstance(InertUnpickler(io.BytesIO(code)).load(), StandIn)


def test_a_module_that_is_not_imported_stays_unimported(tmp_path):
    import sys

    assert "antigravity" not in sys.modules
    assert InertUnpickler(io.BytesIO(b"cantigravity\nfly\n.")).load().name == "antigravity.fly"
    assert "antigravity" not in sys.modules


def archive(path, code: bytes, storages: dict[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", code)
        for key, content in (storages or {}).items():
            file.writestr(f"archive/data/{key}", content)


def tensor_code(size: str, stride: str, numel: int = 4, offset: int = 0) -> bytes:
    """Protocol 0: a dictionary with one float tensor of a given size and stride."""
    storage = f"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI{numel}\ntQ"
    return f"(dS'w'\nctorch._utils\n_rebuild_tensor_v2\n({storage}I{offset}\n{size}{stride}I00\nNtRs.".encode()


BOMBS = {
    "memo": b"\x80\x02}r\xff\xff\xff\xff.",
    "bytes": b"\x80\x04B\xff\xff\xff\x7f.",
    "long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 45) + b".",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 45) + b".",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"}.",
    "hash": b"\x80\x02}(K\x01K\x02\x86" + b"q\x00h\x00\x86" * 60 + b"K\x01u.",
    "set": b"\x80\x04\x8f(K\x01K\x02\x86" + b"q\x00h\x00\x86" * 60 + b"\x90.",
    "nested": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
    "key": b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\n]" + b"q\x00]h\x00ah\x00a" * 60 + b"NK\x01tQ.",
    "size": tensor_code("(I1099511627776\nt", "(I1\nt"),
    "stride": tensor_code("(I1099511627776\nt", "(I0\nt"),
    "offset": tensor_code("(I2\nt", "(I1\nt", offset=1 << 60),
    "numel": tensor_code("(I1099511627776\nt", "(I1\nt", numel=1 << 40),
    "negative": tensor_code("(I-4\nt", "(I1\nt"),
    "many dimensions": tensor_code("(" + "I1\n" * 1000 + "t", "(" + "I1\n" * 1000 + "t"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_no_memory_and_is_one_error(tmp_path, name):
    archive(tmp_path / "x.ckpt", BOMBS[name], {"0": bytes(16)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"x\.ckpt: "):
        from_pickle(tmp_path / "x.ckpt", tmp_path / "y.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    assert not (tmp_path / "y.safetensors").exists()


def test_a_plain_tensor_of_the_same_code_is_read(tmp_path):
    archive(tmp_path / "x.ckpt", tensor_code("(I2\nt", "(I1\nt", offset=1), {"0": struct.pack("<4f", 1, 2, 3, 4)})
    from_pickle(tmp_path / "x.ckpt", tmp_path / "y.safetensors")
    assert load_file(tmp_path / "y.safetensors")["w"].tolist() == [2.0, 3.0]


def damage(content: bytes, chance: random.Random) -> bytes:
    """Replace, insert or remove bytes, mostly at the beginning of a file, where the pickle is."""
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(chance.choice([200, len(damaged)]) or 1) % max(1, len(damaged))
        piece = bytes(chance.randrange(256) for _ in range(chance.randint(0, 3)))
        damaged[place : place + chance.choice([0, 1, 1, 2, 8])] = piece
    return bytes(damaged[: chance.randrange(len(damaged))] if chance.random() < 0.1 else damaged)


def fuzz(tmp_path, count: int, seed: int) -> None:
    chance, pickles = random.Random(seed), []
    state = {"encoder.w": torch.randn(3, 4), "n": torch.tensor(7), "x": torch.nn.Parameter(torch.ones(2))}
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(lightning(state), buffer, _use_new_zipfile_serialization=zipped)
        pickles.append(buffer.getvalue())
    with zipfile.ZipFile(io.BytesIO(pickles[0])) as file:
        code, name = file.read("archive/data.pkl"), "archive"
    assert name
    for number in range(count):
        kind = number % 3
        if kind < 2:
            (tmp_path / "x.ckpt").write_bytes(damage(pickles[kind], chance))
        else:
            archive(tmp_path / "x.ckpt", damage(code, chance), {str(key): bytes(64) for key in range(8)})
        for read in (
            lambda: from_pickle(tmp_path / "x.ckpt", tmp_path / "y"),
            lambda: read_pickle(tmp_path / "x.ckpt"),
        ):
            try:
                read()
            except CheckpointError as error:
                assert str(error).startswith(f"{tmp_path}/x.ckpt: ")  # noqa: PT017 - either outcome is right


def test_damaged_pickles_give_no_foreign_exception(tmp_path):
    fuzz(tmp_path, 150, seed=0)


@pytest.mark.slow
def test_many_damaged_pickles_give_no_foreign_exception(tmp_path):
    fuzz(tmp_path, 1500, seed=1)


def test_pickles_of_python_itself_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"w": [1.0]}))
    with pytest.raises(CheckpointError, match=r"a pickle that torch\.save did not write.*torch\.save"):
        from_pickle(tmp_path / "x.pkl", tmp_path / "y.safetensors")
