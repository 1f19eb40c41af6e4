"""Damaged training checkpoints are refused by one kind of error, or restore a state."""

import json
import random

import pytest
from support.training import CPU, tiny_recipe, tiny_spec

from vaezoo.errors import CheckpointError
from vaezoo.nn.build import build
from vaezoo.training.checkpoint import KEY, checkpoints, restore_checkpoint, save_checkpoint
from vaezoo.training.start import begin

VALUES = (None, True, -1, 0.5, "x", [], {}, [[]], {"dict": 3}, {"tensor": "none"}, {"value": 1}, [1, 2], 1e400)


def change(data, draw):
    """Replace or remove one value somewhere in nested data, which is changed in place."""
    while True:
        keys = list(data) if isinstance(data, dict) else range(len(data))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(data[key], (dict, list)) and data[key] and draw.random() < 0.85:
            data = data[key]
            continue
        if draw.random() < 0.2:
            del data[key]
        else:
            data[key] = draw.choice(VALUES)
        return


def damaged(content, draw):
    """Return a checkpoint file with one fault: of its plain data, of a byte, or of its length."""
    kind = draw.random()
    if kind < 0.1:
        return content[: draw.randrange(len(content))]
    if kind < 0.2:
        place = draw.randrange(len(content))
        return content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    data = json.loads(header["__metadata__"][KEY])
    change(data, draw)
    header["__metadata__"][KEY] = json.dumps(data)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def check_damage(tmp_path, count):
    draw, refused = random.Random(0), 0
    recipe, path = tiny_recipe(tmp_path), tmp_path / "damaged.safetensors"
    state = begin(build(tiny_spec()), recipe, CPU.device)
    save_checkpoint(state, tmp_path, 1, CPU)
    content = checkpoints(tmp_path)[0].read_bytes()
    for _ in range(count):
        path.write_bytes(damaged(content, draw))
        try:
            restore_checkpoint(state, path, CPU)
        except CheckpointError as error:
            said = str(error)
            refused += said.startswith(f"{path}: ") and "remove it to continue from the one before" in said
        step, best = state.progress.step + 1, state.progress.best  # what a run does with them
        assert step > 0
        assert best is None or best < 1e9
    assert refused > count / 2


def test_a_damaged_checkpoint_is_refused_by_one_error(tmp_path):
    check_damage(tmp_path, 60)


@pytest.mark.slow
def test_many_damaged_checkpoints_are_refused_by_one_error(tmp_path):
    check_damage(tmp_path, 600)
