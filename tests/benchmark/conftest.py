"""A small network for the tests of the benchmark."""

import pytest
from support.tiny_pipeline import LDM, small

import vaezoo


@pytest.fixture
def ldm(tmp_path) -> vaezoo.ModelSpec:
    """A small network that AutoencoderKL has."""
    return small(tmp_path, LDM, scale=0.5).spec
