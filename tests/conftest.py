"""Fixtures for all tests: an environment without network access, and the files beside the checkout."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

if "PYTEST_XDIST_WORKER" not in os.environ:
    # for this process and all that it starts or kills, removed at the end; short, because sockets lie there
    TEMPORARY = tempfile.mkdtemp(prefix="vz")
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(Path(TEMPORARY).parent))  # `tmp_path` of failed tests stays
    os.environ.update(TMPDIR=TEMPORARY, TORCHINDUCTOR_CACHE_DIR=f"{TEMPORARY}/inductor")
    tempfile.tempdir = TEMPORARY
# huggingface_hub and torch read these when they are imported
os.environ.update(
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_XET="1",  # the loopback Hub only has plain storage
    OMP_WAIT_POLICY="PASSIVE",  # idle threads of small models sleep instead of spinning
    HF_ENDPOINT="http://127.0.0.1:9",  # a test that does not name the loopback Hub reaches nothing
)
os.environ.pop("HF_TOKEN", None)

import pytest
import torch
from support.checkout import ROOT
from support.config_folder import write_network
from support.meta_builds import build_once

from vaezoo.nn import own_blocks
from vaezoo.nn.blocks import BLOCKS
from vaezoo.specs import catalog, extensions

SHARED = ROOT.parent / "shared"
gc.disable()  # until all tests are collected: what imports create stays


def pytest_collection_finish():
    """Let the garbage collector skip the hundreds of thousands of objects of imported libraries."""
    import hypothesis  # noqa: F401  # now, because it asks the collector who refers to the objects of its plugins

    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # models are freed by their reference counts
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Collect at the end of each test file, and let the garbage collector skip what stays."""
    result = yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
    return result


def pytest_unconfigure():
    """Remove the temporary files that this process made."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(TEMPORARY, ignore_errors=True)


@pytest.fixture(autouse=True)
def seeded():
    torch.default_generator.manual_seed(0)  # torch.manual_seed formats the stack for a GPU that is not used yet
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)


@pytest.fixture(autouse=True)
def blocks_of_vaezoo():
    """Forget the blocks that a test registers."""
    known, modules = set(BLOCKS), set(extensions._modules)
    yield
    for name in BLOCKS.keys() - known:
        del BLOCKS[name]
        own_blocks._OWN.pop(name, None)
    for module in extensions._modules.keys() - modules:
        del extensions._modules[module]


@pytest.fixture(autouse=True, scope="session")
def networks_on_the_meta_device():
    """Build each network on the meta device once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        build_once(patch)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_home(tmp_path_factory):
    """Use an empty Hugging Face home instead of the token and cache of the person who runs the tests."""
    from huggingface_hub import constants

    home = tmp_path_factory.mktemp("hf")
    patch = pytest.MonkeyPatch()
    patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    yield
    patch.undo()


@pytest.fixture
def shared() -> Path:
    """The folder of real photos and checkpoints beside the checkout; tests that need it are skipped without it."""
    if not SHARED.is_dir():
        if os.environ.get("VAEZOO_REQUIRE_SHARED"):
            pytest.fail(f"{SHARED} is missing, and VAEZOO_REQUIRE_SHARED is set")
        pytest.skip(f"{SHARED} is missing: real photos and checkpoints are needed")
    return SHARED


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A loopback Hub with the users alice (token hf_alice) and bob (hf_bob), and an empty cache."""
    from huggingface_hub import constants
    from support.hub_server import HubServer

    with HubServer({"hf_alice": "alice", "hf_bob": "bob"}) as server:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield server
    assert server.errors == []


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> dict[str, bytes]:
    """The files that `vaezoo.save` writes for a small network."""
    import vaezoo

    folder = vaezoo.save(vaezoo.create("vae_f8_z4_micro"), tmp_path_factory.mktemp("saved"), license="mit")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A config folder with a network `mine_f8_z4`, spelled with a "-", that is not registered yet."""
    monkeypatch.setattr(catalog, "_added", [])
    return write_network(tmp_path)
