"""The structure of the code: unique file and class names, small files, a docstring for everything public."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator

from support.checkout import ROOT

MOST_LINES = 250
TEXTS = {
    path.relative_to(ROOT): path.read_text(encoding="utf-8")
    for folder in ("vaezoo", "tools", "tests", "scripts")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
PACKAGE = {path: ast.parse(text) for path, text in TEXTS.items() if path.parts[0] == "vaezoo"}
CLASSES = {node.name: node for tree in PACKAGE.values() for node in tree.body if isinstance(node, ast.ClassDef)}


def test_there_are_files_to_check():
    assert len(TEXTS) > 100
    assert len(PACKAGE) > 100


def test_a_file_name_appears_once_in_the_package():
    assert repeated(path.name for path in PACKAGE if path.name != "__init__.py") == []


def test_a_public_class_name_appears_once_in_the_package():
    assert repeated(name for tree in PACKAGE.values() for name, _ in public_classes(tree)) == []


def test_no_file_is_long():
    assert {str(path): lines for path, text in TEXTS.items() if (lines := len(text.splitlines())) > MOST_LINES} == {}


def test_every_module_and_every_public_class_function_and_method_has_a_docstring():
    assert [f"{path}: {name}" for path, tree in PACKAGE.items() for name in undocumented(tree)] == []


def repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def public_classes(tree: ast.Module) -> list[tuple[str, ast.ClassDef]]:
    return [(node.name, node) for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]


def undocumented(tree: ast.Module) -> Iterator[str]:
    """What lacks a docstring: the module, its public functions and classes, and their public methods."""
    if tree.body and ast.get_docstring(tree) is None:
        yield "the module"
    yield from (node.name for node in tree.body if needs_docstring(node))
    for name, node in public_classes(tree):
        yield from (
            f"{name}.{method.name}" for method in node.body if needs_docstring(method) and not inherits(node, method)
        )


def needs_docstring(node: ast.stmt) -> bool:
    """Whether a public function or class lacks its docstring; overloads and setters share that of their function."""
    if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name[0] == "_" or ast.get_docstring(node):
        return False
    return not {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list} & {"overload", "setter"}


def inherits(node: ast.ClassDef, method: ast.stmt) -> bool:
    """Whether `help` shows the docstring of a base class: one of PyTorch, or one of the package that documents it."""
    if method.name in ("forward", "extra_repr"):
        return True
    bases = [CLASSES[name] for base in node.bases if (name := ast.unparse(base)) in CLASSES]
    found = [item for base in bases for item in base.body if getattr(item, "name", None) == method.name]
    return any(ast.get_docstring(item) for item in found) or any(inherits(base, method) for base in bases)
