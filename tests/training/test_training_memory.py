"""A lack of memory in training: one error with the step and its batch."""

from unittest.mock import Mock

import pytest
import torch
from support.training import CPU, loader_of, tiny_recipe, tiny_spec

from vaezoo.nn.build import build
from vaezoo.out_of_memory import OutOfMemoryError
from vaezoo.training.loop import Stepper
from vaezoo.training.start import begin


def first_step(recipe) -> None:
    stepper = Stepper(begin(build(tiny_spec()), recipe, CPU.device), recipe, CPU)
    stepper.step([next(iter(loader_of(recipe)))])


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"), MemoryError()]
)
def test_a_lack_of_memory_names_the_step_and_its_batch(tmp_path, monkeypatch, error):
    recipe = tiny_recipe(tmp_path)
    monkeypatch.setattr(Stepper, "_backward", Mock(side_effect=error))
    with pytest.raises(OutOfMemoryError, match="step 1: a batch of 2 crops of 16 x 16 pixels in fp32: out") as raised:
        first_step(recipe)
    assert "lower batch_size" in str(raised.value)
    assert ("(CUDA out of memory. Tried to allocate 2.00 GiB);" in str(raised.value)) == bool(str(error))


def test_other_errors_of_a_step_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(Stepper, "_backward", Mock(side_effect=RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        first_step(tiny_recipe(tmp_path))
