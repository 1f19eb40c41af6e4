"""Where else the lines of a log go, by the interfaces of TensorBoard, wandb and trackio."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest
from support.training import tiny_recipe, write_recipe

from vaezoo.cli import main
from vaezoo.errors import InputError
from vaezoo.training.log import read_log
from vaezoo.training.recipes import read_recipe, without_paths
from vaezoo.training.trackers import TRACKERS


class LikeWandb(ModuleType):
    """What is asked of wandb and trackio: `init`, `log` and `finish`."""

    def __init__(self, name):
        super().__init__(name)
        self.calls = []

    def init(self, **options):
        self.calls.append(("init", options))

    def log(self, values, step):
        self.calls.append(("log", {"step": step, **values}))

    def finish(self):
        self.calls.append(("finish", {}))


class Writer:
    """What is asked of TensorBoard: scalars, until it is closed."""

    def __init__(self, folder):
        self.folder, self.scalars, self.closed = folder, [], False
        written.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def flush(self):
        pass


written: list[Writer] = []


def numbers_of(run):
    """The log, without what it shows in six digits."""
    return [{name: pytest.approx(value, rel=1e-5) for name, value in line.items()} for line in read_log(run)]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_run_is_sent_line_by_line_and_finished(name, tmp_path, monkeypatch):
    module = LikeWandb(name)
    monkeypatch.setitem(sys.modules, name, module)
    path, run = write_recipe(tmp_path), tmp_path / "run"
    assert main(["train", str(path), "--out", str(run), "--set", "steps=2", "--track", name]) == 0
    (begun, options), *logged, last = module.calls
    assert (begun, last[0]) == ("init", "finish")
    assert (options["project"], options["name"]) == ("vaezoo", "run")
    sent, recipe = options["config"], read_recipe(run / "recipe.yaml").to_dict()
    assert str(tmp_path) in str(recipe)
    assert str(tmp_path) not in str(sent)
    assert sent.keys() == recipe.keys()
    assert [values for _, values in logged] == numbers_of(run)


def test_a_recipe_is_sent_without_paths_of_this_machine(tmp_path):
    recipe = tiny_recipe(tmp_path)
    for changes in (
        {"grow": "local-dir:/home/me/narrow#vae"},
        {"network": "/home/me/net.yaml", "pretrained": "file:/home/me/a.safetensors,/home/me/b.safetensors"},
        {"validation": replace(recipe.validation, root="/home/me/photos")},
    ):
        sent = str(without_paths(replace(recipe, **changes)).to_dict())
        assert "/home" not in sent
        assert str(tmp_path) not in sent


def test_a_run_that_ends_with_an_error_is_finished_too(tmp_path, monkeypatch):
    module = LikeWandb("wandb")
    monkeypatch.setitem(sys.modules, "wandb", module)
    with pytest.raises(InterruptedError), TRACKERS["wandb"](tmp_path, tiny_recipe(tmp_path)):
        raise InterruptedError
    assert [name for name, _ in module.calls] == ["init", "finish"]


def test_tensorboard_gets_every_number_of_a_line_but_its_step(tmp_path, monkeypatch):
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    with TRACKERS["tensorboard"](tmp_path, tiny_recipe(tmp_path)) as track:
        track({"step": 3, "loss": 0.5, "lr": 1e-3})
    writer = written.pop()
    assert writer.folder == tmp_path / "tensorboard"
    assert writer.scalars == [("loss", 0.5, 3), ("lr", 1e-3, 3)]
    assert writer.closed


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_told_with_the_extra(name, tmp_path, monkeypatch):
    for module in ("torch.utils.tensorboard", "wandb", "trackio"):
        monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(InputError, match=rf"--track {name}: .*; pip install 'vaezoo\[{name}\]'"),
        TRACKERS[name](tmp_path, tiny_recipe(tmp_path)),
    ):
        pass
