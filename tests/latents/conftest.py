"""Fixtures of the tests of encoding."""

import pytest


@pytest.fixture
def out(tmp_path):
    """A folder for latents, which does not exist yet."""
    return tmp_path / "latents"
