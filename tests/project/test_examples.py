"""The examples in docstrings run as they stand, offline and on the CPU."""

import doctest
import importlib

import pytest
from support.checkout import ROOT

FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "vaezoo").rglob("*.py"))
WITH_EXAMPLES = [path for path in FILES if ">>> " in (ROOT / path).read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_the_examples_of_a_file_give_what_they_show(path, monkeypatch, tmp_path):
    module = importlib.import_module(".".join(path.with_suffix("").parts))
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_main_entry_points_have_examples():
    assert "vaezoo/nn/vae.py" in map(str, WITH_EXAMPLES)
