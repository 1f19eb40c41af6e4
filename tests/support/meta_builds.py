"""Networks on the meta device, which a test process builds once per spec: a copy takes an eighth of the time."""

import pickle

import pytest

from vaezoo.nn import build
from vaezoo.nn.own_blocks import origins_of
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import ModelSpec

build_shapes = build._build_shapes  # what the tests of building call


def build_once(patch: pytest.MonkeyPatch) -> None:
    """Let each spec be built on the meta device once, and every later model of it be an independent copy.

    Specs with blocks from outside vaezoo are built each time, because tests register several blocks of one name.
    """
    built: dict[ModelSpec, bytes] = {}

    def copy(spec: ModelSpec) -> VAE:
        if origins_of(spec):
            return build_shapes(spec)
        if spec not in built:
            model = build_shapes(spec)
            built[spec] = pickle.dumps(model, pickle.HIGHEST_PROTOCOL)
            return model
        model = pickle.loads(built[spec])  # noqa: S301 - of this process
        model.spec = spec
        return model

    patch.setattr(build, "_build_shapes", copy)
