"""What differs between two networks or two sets of weights, and what it costs."""

import json

import pytest
import torch

import vaezoo
from vaezoo.analysis.compare import compare_specs, compare_weights
from vaezoo.analysis.costs import costs
from vaezoo.cli import main
from vaezoo.errors import InputError
from vaezoo.nn.schema import change_spec


def run(capsys, *arguments: object) -> str:
    assert main(["diff", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def changed(**changes):
    base = vaezoo.get_spec("vae_f8_z4_micro")
    return base, change_spec(base, {path.replace("__", "."): value for path, value in changes.items()})


def test_a_network_differs_from_itself_in_nothing(capsys):
    base, _ = changed(latent__channels=8)
    assert compare_specs(base, base) == []
    assert "are the same network" in run(capsys, "vae_f8_z4_micro", "vae-f8-z4-micro")


def test_a_changed_row_is_told_with_its_words_and_costs():
    (row,) = compare_specs(*changed(encoder__4__layers=2))
    assert (row.place, row.block, row.said) == ("encoder.4", "mid", "layers 1 → 2")
    layer = 2 * (9 * 48 * 48 + 48 + 2 * 48) + 48 * 48 + 48  # two convolutions with norms, and the skip's convolution
    attention = 4 * (48 * 48 + 48) + 2 * 48
    assert row.params == layer + attention


def test_rows_whose_neighbours_changed_are_told_too_and_costs_add_up():
    a, b = changed(latent__channels=16)
    rows = compare_specs(a, b)
    assert (rows[0].place, rows[0].said) == ("latent", "channels 4 → 16")
    assert {row.place for row in rows[1:]} == {"encoder.5", "encoder.6", "decoder.0", "decoder.1"}
    assert sum(row.params for row in rows) == costs(b).params() - costs(a).params()
    assert sum(row.gmacs for row in rows) == pytest.approx(costs(b).gmacs() - costs(a).gmacs())


def test_added_and_removed_rows_are_told():
    a, b = vaezoo.get_spec("vae_f8_z4"), vaezoo.get_spec("vae_f4_z3")
    for one, other, word, sign in ((a, b, "removed", -1), (b, a, "added", 1)):
        rows = compare_specs(one, other)
        assert [row.block for row in rows if row.said.startswith(word)] == ["down", "up"]
        assert all(row.params * sign > 0 for row in rows if row.said.startswith(word))
        assert sum(row.params for row in rows) == costs(other).params() - costs(one).params()


def test_weights_of_one_network_are_compared_tensor_by_tensor():
    a, b = (vaezoo.create("vae_f8_z4_micro") for _ in range(2))
    b.load_state_dict(a.state_dict())
    name = "encoder.0.weight"
    with torch.no_grad():
        b.get_parameter(name)[0, 0, 0, 0] += 0.5
    first, *rest = compare_weights(a, b)
    assert first.name == name
    assert first.largest == pytest.approx(0.5)
    assert first.mean == pytest.approx(0.5 / b.get_parameter(name).numel())
    assert all(change.largest == 0 for change in rest)
    with pytest.raises(InputError, match="are different networks"):
        compare_weights(a, vaezoo.create("vae_f8_z4_micro", overrides={"latent.channels": 8}))


def test_the_command_knows_names_files_and_weights(capsys, tmp_path):
    text = run(capsys, "vae_f8_z4", "vae_f8_z4_noattn", "--size", 64)
    assert "heads 4 → 0" in text
    assert f"{costs(vaezoo.get_spec('vae_f8_z4_noattn')).params() - 21_970_983:+,}" in text.splitlines()[-1]
    data = json.loads(run(capsys, "vae_f8_z4_quarter", "vae_f8_z4_quarter.photos_v1", "--json"))
    assert data == {"rows": [], "tensors": []}
    torch.manual_seed(1)
    for name in ("a", "b"):
        vaezoo.save(vaezoo.create("vae_f8_z4_micro"), tmp_path / name)
    text = run(capsys, f"local-dir:{tmp_path / 'a'}", f"local-dir:{tmp_path / 'b'}", "--count", 3)
    assert "tensors differ" in text
    assert len(text.splitlines()) == 6
    assert "0 of" in run(capsys, f"local-dir:{tmp_path / 'a'}", f"local-dir:{tmp_path / 'a'}")
