"""The structure of the code: every file name appears once in the package."""

import ast
from collections import Counter
from collections.abc import Iterable

from support.checkout import ROOT

TEXTS = {
    path.relative_to(ROOT): path.read_text(encoding="utf-8")
    for folder in ("vaezoo", "tools", "tests", "scripts")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
PACKAGE = {path: ast.parse(text) for path, text in TEXTS.items() if path.parts[0] == "vaezoo"}


def test_there_are_files_to_check():
    assert len(TEXTS) > 100
    assert len(PACKAGE) > 100


def test_a_file_name_appears_once_in_the_package():
    assert repeated(path.name for path in PACKAGE if path.name != "__init__.py") == []


def repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)
