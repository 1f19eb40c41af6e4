"""The wheel and the source archive contain every file, and the wheel works outside the checkout."""

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.checkout import ROOT

import vaezoo

SOURCES = ("vaezoo", "configs", "tools", "tests", "docs", "scripts")
FILES = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A folder with the wheel and the source archive, built from a copy to keep the checkout clean."""
    folder = tmp_path_factory.mktemp("package")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / "source" / name)
    for hook in ("build_sdist", "build_wheel"):
        code = f"from setuptools import build_meta; build_meta.{hook}({str(folder)!r})"
        done = subprocess.run([sys.executable, "-c", code], cwd=folder / "source", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def installed(built, tmp_path_factory):
    """The folder with the installed wheel, and a function that runs a command outside the checkout."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, *built.glob("*.whl")]
    subprocess.run([*map(str, pip), "--disable-pip-version-check"], check=True)
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(*command: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(target)}
        done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return target, run


def tracked(*folders: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_setup_lists_every_package_and_every_kind_of_file():
    """Check setup.cfg without building a wheel, which only the slow tests do."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    packages = setup["options"]["packages"].split()
    data = {name: value.replace(",", " ").split() for name, value in setup["options.package_data"].items()}
    for path in map(Path, tracked("vaezoo", "configs", "tools")):
        folder = ".".join(path.parent.parts)
        package = folder if folder.startswith("vaezoo") else f"vaezoo.{folder}"
        assert package in packages, path
        assert path.suffix == ".py" or any(path.match(pattern) for pattern in data[package]), path


@pytest.mark.slow
def test_the_wheel_contains_every_config_tool_and_module(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in tracked("configs", "tools"):
        assert f"vaezoo/{path}" in names, path
    for path in tracked("vaezoo"):
        assert path in names, path
    assert not any(name.startswith(("tests/", "docs/", "scripts/")) for name in names)
    assert wheel.stat().st_size < 60e6


@pytest.mark.slow
def test_the_source_archive_contains_what_the_repository_does(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    for path in tracked(*SOURCES, *FILES):
        assert path in names, path


@pytest.mark.slow
def test_the_installed_wheel_lists_models_outside_the_checkout(installed):
    target, run = installed
    assert run(sys.executable, "-c", "import vaezoo; print(vaezoo.__file__)").startswith(str(target))
    assert "vae_f8_z4_micro" in run(str(target / "bin" / "vaezoo"), "list")


@pytest.mark.slow
def test_the_installed_wheel_creates_the_bundled_model(installed):
    _, run = installed
    code = (
        'import vaezoo; vae = vaezoo.create("vae-f8-z4", pretrained=True); print(vae.dtype, len(vae.latent_stats.mean))'
    )
    assert run(sys.executable, "-c", code).startswith("torch.float32 4")


@pytest.mark.slow
def test_the_version_is_the_one_in_the_metadata(built):
    import vaezoo

    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"vaezoo-{vaezoo.__version__}-py3-none-any.whl"
    assert f"## [{vaezoo.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_editable_install_is_found_from_the_folder_above_a_checkout_called_vaezoo(built, tmp_path):
    """A folder of that name in the working directory, which Python takes for a namespace package, does not hide it."""
    checkout, site = tmp_path / "vaezoo", tmp_path / "site"
    shutil.copytree(built / "source", checkout)
    site.mkdir()
    code = f"from setuptools import build_meta; build_meta.build_editable({str(site)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, check=True)
    (wheel,) = site.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        f"import site, sys; sys.path.append({sysconfig.get_paths()['purelib']!r}); site.addsitedir({str(site)!r}); "
        "import vaezoo; print(vaezoo.__file__, callable(vaezoo.create), len(vaezoo.list_models()))"
    )
    command = [sys.executable, "-S", "-c", code]  # -S: without the editable install of this environment
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=clean_environment())
    assert done.stdout.split() == [str(checkout / "vaezoo" / "__init__.py"), "True", str(len(vaezoo.list_models()))]


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
