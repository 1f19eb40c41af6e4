"""Fixtures for all tests: an environment without network, and the material beside the checkout."""

import os
from pathlib import Path

# before anything imports huggingface_hub, which reads these once
os.environ.update(
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_XET="1",  # the loopback Hub has plain storage
    HF_ENDPOINT="http://127.0.0.1:9",  # whoever forgets to name the loopback Hub reaches nothing
)
os.environ.pop("HF_TOKEN", None)

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def no_home(tmp_path_factory):
    """A Hugging Face home of our own: no token, no cache of the person who runs the tests."""
    from huggingface_hub import constants

    home = tmp_path_factory.mktemp("hf")
    patch = pytest.MonkeyPatch()
    patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    yield
    patch.undo()


@pytest.fixture
def shared() -> Path:
    """The folder of real photos and checkpoints beside the checkout; tests on it are skipped where it is absent."""
    if not SHARED.is_dir():
        if os.environ.get("VAEZOO_REQUIRE_SHARED"):
            pytest.fail(f"{SHARED} is missing, and VAEZOO_REQUIRE_SHARED is set")
        pytest.skip(f"{SHARED} is missing: real photos and checkpoints are needed")
    return SHARED
