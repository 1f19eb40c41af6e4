"""What is measured of variants: kept, so that a second call measures what is missing, and told where it fails."""

import pytest
from support.ablations import plan_of, pretend_measuring

from vaezoo.ablation import measured_costs as measurements
from vaezoo.ablation.measured_costs import measured_columns, read_measured, unmeasured
from vaezoo.ablation.question import check_question
from vaezoo.ablation.run_results import read_table, rows_of
from vaezoo.cli import main
from vaezoo.errors import FileError, InputError, SpecError
from vaezoo.specs.parse import parse_yaml

HOW = "{what: [encode, decode], sizes: [32]}"
COSTS = {"recipe": "", "steps": "", "seeds": ""}


def test_only_what_is_missing_is_measured(tmp_path):
    plan = plan_of(tmp_path, measure=HOW, **COSTS)
    assert [step.key for step in unmeasured(plan)] == ["encode_32", "decode_32"] * 3
    pretend_measuring(plan, {"base": 0.1, "channels3": 0.05})
    assert unmeasured(plan) == []
    assert [step.variant.label for step in unmeasured(plan, retry=True)] == ["channels4"] * 2
    larger = plan_of(tmp_path, measure=HOW.replace("[32]", "[32, 64]"), **COSTS)
    assert [step.key for step in unmeasured(larger)] == ["encode_64", "decode_64"] * 3
    other = plan_of(tmp_path, measure=HOW.replace("}", ", dtype: bf16}"), **COSTS)
    assert len(unmeasured(other)) == 6
    assert len(list((plan.folder / "measured").iterdir())) == 3


def test_columns_hold_the_figures_and_why_there_are_none(tmp_path):
    plan = plan_of(tmp_path, measure=HOW.replace("}", ", budget: 100}"), **COSTS)
    assert set(measured_columns(plan, plan.variants[0]).values()) == {None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurements, "largest_batch", lambda *_, **__: {"largest_batch": 12, "error": None})
        pretend_measuring(plan, {"base": 0.1})
    base, _, failed = rows_of(plan)
    assert (base["decode_seconds_32"], base["decode_images_per_second_32"]) == (0.1, 10)
    assert (base["decode_seconds_q1_32"], base["decode_seconds_q3_32"]) == (0.05, 0.2)
    assert (base["encode_memory_mib_32"], base["encode_largest_batch_32"]) == (7.0, 12)
    assert (failed["decode_seconds_32"], failed["decode_error_32"]) == (None, "killed by SIGKILL")
    assert base["decode_error_32"] is None
    assert list(base) == list(failed)


def test_figures_of_two_machines_are_never_mixed(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, measure=HOW, **COSTS)
    pretend_measuring(plan, {"base": 0.1})
    monkeypatch.setattr(measurements, "hardware", lambda device: "another machine")
    assert unmeasured(plan) == []  # a report may be written anywhere
    with pytest.raises(
        InputError, match=r"measured on .*, and this machine is another machine; continue on the former, or remove"
    ):
        unmeasured(plan, retry=True)


@pytest.mark.parametrize("text", ["{", "[]", '{"decode_32": 3}', '{"decode_32": {}}'])
def test_a_damaged_file_is_an_error(text, tmp_path):
    plan = plan_of(tmp_path, measure=HOW, **COSTS)
    pretend_measuring(plan, {})
    for path in (plan.folder / "measured").iterdir():
        path.write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=r"damaged .* remove it to measure it again"):
        read_measured(plan, plan.variants[0])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("{what: [encod]}", r"measure.what\[0\]"),
        ("{what: []}", r"measure.what: expected at least 1 item, got 0"),
        ("{what: [train], dtype: fp16}", "losses scaled"),
        ("{repeats: 0}", "measure.repeats"),
    ],
)
def test_what_cannot_be_measured_is_told(how, words):
    text = f"question: q\nbase: vae_f8_z4_micro\nset: {{latent.channels: 8}}\nmeasure: {how}\n"
    with pytest.raises(SpecError, match=words):
        check_question(parse_yaml(text, "ask.yaml"))


def test_sizes_and_devices_are_checked_for_all_variants_first(tmp_path):
    with pytest.raises(SpecError, match="33x33 is not a positive multiple of 2"):
        plan_of(tmp_path, measure="{sizes: [33]}")
    with pytest.raises(InputError, match="PyTorch cannot use it here"):
        plan_of(tmp_path, measure="{device: 'cuda:99'}")


@pytest.mark.slow  # measures in processes that import torch
def test_a_command_measures(tmp_path, capsys):
    arguments = ["vae_f8_z4_micro", "--set", "latent.channels=4", "--sizes", "16", "--measure", "decode"]
    arguments += ["--out", str(tmp_path), "--no-report"]
    assert main(["ablate", *arguments]) == 0
    assert "vae_f8_z4_micro, decode at 16x16: " in capsys.readouterr().out
    assert 0 < float(read_table(tmp_path)[0]["decode_images_per_second_16"]) < 1e5
