"""Imports point in one direction only, including those inside functions."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from support.checkout import ROOT

import vaezoo

ORDER = [
    "version",
    "errors",
    "out_of_memory",
    "distributed",
    "io",
    "specs",
    "nn",
    "analysis",
    "warmstart",
    "inference",
    "formats",
    "weights",
    "zoo",
    "adapters",
    "data",
    "evaluation",
    "sharing",
    "training",
    "benchmark",
    "jobs",
    "latents",
    "ablation",
    "console",
    "light_parser",
    "cli",
    "__main__",
]
UNPICKLERS = ["inert_unpickler.py", "torch_files.py"]  # import pickle; test_hostile_pickles.py shows that nothing runs
RESTRICTED = 'torch.load(path, map_location="cpu", weights_only=True)'  # builds tensors and plain data only
FILES = sorted((ROOT / "vaezoo").rglob("*.py"))
TEXTS = {path: path.read_text(encoding="utf-8") for path in FILES}
TREES = {path: ast.parse(text) for path, text in TEXTS.items()}


def level(module: str) -> int:
    return ORDER.index(module.split(".")[1])


def module_of(path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> list[str]:
    """Return the modules that a tree imports; `from vaezoo import create` counts as the module of `create`."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide their direction"
            homes = [f"vaezoo.{vaezoo._HOMES.get(alias.name, alias.name)}" for alias in node.names]
            names += homes if node.module == "vaezoo" else [node.module]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_before_it(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if module == "vaezoo.__init__":
        return
    for name in imported(TREES[path]):
        assert name != "vaezoo", f"{module} imports all of vaezoo"
        if name.startswith("vaezoo."):
            assert level(name) <= level(module), f"{module} imports {name}, which stands after it"


def test_no_files_import_each_other_in_a_circle():
    modules = {module_of(path): tree for path, tree in TREES.items()}
    graph = {name: {i for i in imports_of(tree, modules) if i != name} for name, tree in modules.items()}
    del graph["vaezoo"]  # names are loaded from it on first use
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def imports_of(tree: ast.AST, modules) -> set[str]:
    """Return the files that a tree imports; `from package import module` counts as the module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vaezoo."):
            found |= {
                full if (full := f"{node.module}.{alias.name}") in modules else node.module for alias in node.names
            }
    return found


@pytest.mark.parametrize("folder", ["nn", "formats"])
def test_networks_and_formats_open_no_file(folder):
    """Both work on checked data; their callers read the files."""
    texts = {path: text for path, text in TEXTS.items() if path.is_relative_to(ROOT / "vaezoo" / folder)}
    assert texts
    for path, text in texts.items():
        for word in ("open(", "read_text", "read_bytes", "write_", "Path(", "huggingface_hub", "vaezoo.io"):
            assert word not in text, f"{path.name} has {word}"


def test_nothing_is_unpickled_evaluated_or_loaded_unsafely():
    unsafe = ("torch.load(", "yaml.load(", "unsafe_load", "eval(", "exec(", "trust_remote_code")
    unpickling = ("pickle.load", "pickle.Unpickler(", "pickle._Unpickler(", "super().find_class")
    for path, text in TEXTS.items():
        for word in (*unsafe, *(unpickling if path.name in UNPICKLERS else ("import pickle",))):
            assert word not in text.replace(".eval()", "").replace(RESTRICTED, ""), f"{path.name} has {word}"


def loaded_by(code: str) -> set[str]:
    """Return the modules that a separate process has loaded after running `code`."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_listing_models_does_not_import_torch():
    modules = loaded_by("import vaezoo\nassert vaezoo.list_models() and vaezoo.list_pretrained()")
    assert "vaezoo.specs.catalog" in modules
    assert not modules & {"torch", "numpy", "PIL", "huggingface_hub"}


@pytest.mark.slow
def test_creating_and_counting_a_model_and_reading_photos_import_no_compiler_hub_client_or_model_library():
    modules = loaded_by(
        "import vaezoo, vaezoo.data.batches, vaezoo.evaluation.protocol, vaezoo.analysis.costs\n"
        'vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)\n'
        "vaezoo.analysis.costs.costs(vae.spec, 64)  # which every card contains"
    )
    assert "torch" in modules
    assert not modules & {"timm", "diffusers", "transformers", "huggingface_hub", "torchvision", "torch._dynamo"}
