"""The public names: sorted, complete, loaded on first use."""

import ast

from support.checkout import ROOT

import vaezoo


def test_all_is_sorted_and_every_name_in_it_can_be_loaded():
    assert vaezoo.__all__[0] == "__version__"
    assert vaezoo.__all__[1:] == sorted(vaezoo.__all__[1:])
    assert all(getattr(vaezoo, name) is not None for name in vaezoo.__all__)
    assert set(vaezoo.__all__) <= set(dir(vaezoo))


def test_type_checkers_see_the_names_that_are_loaded_on_first_use():
    tree = ast.parse((ROOT / "vaezoo" / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    homes = {alias.name: node.module.removeprefix("vaezoo.") for node in block.body for alias in node.names}
    assert homes == vaezoo._HOMES


def test_subpackages_resolve_and_an_unknown_name_is_an_attribute_error():
    assert vaezoo.nn.__name__ == "vaezoo.nn"
    assert not hasattr(vaezoo, "nonsense")


def test_every_public_function_and_class_has_a_docstring():
    for name in vaezoo.__all__[1:]:
        assert (getattr(vaezoo, name).__doc__ or "").strip(), name


def test_every_error_is_a_vaezoo_error_and_a_builtin_one():
    errors = [getattr(vaezoo, n) for n in vaezoo.__all__ if n.endswith("Error") and n != "VaezooError"]
    assert len(errors) == 9
    for error in errors:
        assert issubclass(error, vaezoo.VaezooError)
        assert issubclass(error, ValueError | LookupError | OSError | RuntimeError)
