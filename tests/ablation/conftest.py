"""Fixtures of the tests of ablations."""

import pytest

from vaezoo.ablation import variants


@pytest.fixture(autouse=True, scope="session")
def panels_counted_once():
    """Count the static panel of each network once for all tests: plans of the same few networks are made many times."""
    counted: dict[tuple, dict] = {}
    static_panel = variants.static_panel

    def once(spec, sizes):
        key = spec.hash, tuple(sizes)
        if key not in counted:
            counted[key] = static_panel(spec, sizes)
        return dict(counted[key])

    patch = pytest.MonkeyPatch()
    patch.setattr(variants, "static_panel", once)
    yield
    patch.undo()
