"""From runs to tables, the answer and the pick."""

import csv
import json

import pytest
from support.ablations import plan_of, pretend

from vaezoo.ablation import run_results as results
from vaezoo.ablation.plots import pareto
from vaezoo.ablation.run_results import read_table, rows_of, write_result, write_tables
from vaezoo.ablation.summary import answer, pick, summarize
from vaezoo.cli import main
from vaezoo.errors import FileError, InputError
from vaezoo.io.files import make_folder


def test_a_table_has_a_row_for_each_run_that_is_done(tmp_path):
    plan = plan_of(tmp_path)
    assert write_tables(plan) == []
    pretend(plan, {"base": [20.0, 21.0], "channels3": [22.0]})
    write_result(make_folder(plan.folder_of(plan.runs[2])), {"error": "RuntimeError: out of memory"})
    write_tables(plan)
    rows = read_table(plan.folder)
    assert [(row["name"], row["seed"], row["psnr"], row["error"]) for row in rows] == [
        ("tiny", "0", "20", ""),
        ("tiny+channels3", "0", "22", ""),
        ("tiny+channels4", "0", "", "RuntimeError: out of memory"),
        ("tiny", "1", "21", ""),
    ]
    assert rows[1]["changes"] == "latent.channels=3"
    assert len({(row["spec_hash"], row["recipe_hash"], row["seed"]) for row in rows}) == 4
    assert len({row["recipe_hash"] for row in rows}) == 1
    lines = [json.loads(line) for line in (plan.folder / "results.jsonl").read_text().splitlines()]
    assert [line["psnr"] for line in lines] == [20.0, 22.0, None, 21.0]
    assert lines[0]["params"] == plan.variants[0].costs["params"]


def test_what_ends_while_a_table_is_written_is_in_it(tmp_path, monkeypatch):
    plan = plan_of(tmp_path)
    pretend(plan, {"base": [20.0]})
    write, late = results.write_text, {"channels3": [22.0]}

    def write_and_end_another(path, text):
        write(path, text)
        if late:
            pretend(plan, dict([late.popitem()]))

    monkeypatch.setattr(results, "write_text", write_and_end_another)
    assert len(write_tables(plan)) == len(read_table(plan.folder)) == 2


def test_infinite_figures_are_null_in_json_and_damaged_results_are_an_error(tmp_path):
    plan = plan_of(tmp_path)
    pretend(plan, {"base": [20.0]}, kl=(float("inf"), 1.0))
    assert write_tables(plan)[0]["kl"] == [None, 1.0]
    path = plan.folder_of(plan.runs[0]) / "result.json"
    for text in ("{", "[]", "null", "{}"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(FileError, match=r"damaged .* remove it"):
            rows_of(plan)


@pytest.mark.parametrize(
    ("psnr", "words"),
    [
        (
            {"base": [20.0, 20.2], "channels3": [20.5, 20.7], "channels4": [20.1, 20.4]},
            ["tiny+channels3 has the highest PSNR, 20.60 dB (20.50 to 20.70 over 2 seeds)", "+0.50 dB, more than the",
             "% parameters", "The seeds of no other variant overlap"],
        ),
        (
            {"base": [20.0, 20.6], "channels3": [20.5, 20.7], "channels4": [19.0, 20.6]},
            ["within the spread over seeds", "do not distinguish it from tiny+channels4",
             "do not distinguish, tiny takes the fewest"],
        ),
        (
            {"base": [20.0], "channels3": [20.5]},
            ["with one seed per variant this may be chance", "Of 6 runs 4 are missing and 0 failed"],
        ),
        ({"base": [21.0, 21.1], "channels3": [20.5, 20.6]}, ["tiny has the highest PSNR", "Of 6 runs 2 are missing"]),
        ({}, ["Of 6 runs 6 are missing"]),
    ],
)  # fmt: skip
def test_the_answer_says_what_the_runs_tell_and_what_not(psnr, words, tmp_path):
    plan = plan_of(tmp_path)
    pretend(plan, psnr)
    said = answer(plan, rows_of(plan))
    for each in words:
        assert each in said, said


def test_without_trainings_the_answer_is_of_costs(tmp_path):
    plan = plan_of(tmp_path, recipe="", steps="", seeds="")
    rows = rows_of(plan)
    assert [row["seed"] for row in rows] == [None] * 3
    assert "tiny takes the fewest GMACs at 32x32" in answer(plan, rows)
    assert "tiny+channels4 takes the most" in answer(plan, rows)
    write_tables(plan)
    with pytest.raises(InputError, match="have no PSNR"):
        pick(read_table(plan.folder), 1)


def test_pick_is_the_best_within_the_budget(tmp_path, capsys):
    plan = plan_of(tmp_path)
    pretend(plan, {"base": [20.0, 20.2], "channels3": [20.1, 20.7], "channels4": [25, 26]})
    write_tables(plan)
    table, costs = read_table(plan.folder), [each.costs["gmacs_32"] for each in summarize(plan, rows_of(plan))]
    middle = (costs[1] + costs[2]) / 2
    assert [each.name for each in pick(table, 1)] == ["tiny+channels4", "tiny+channels3", "tiny"]
    assert [each.name for each in pick(table, middle)] == ["tiny+channels3", "tiny"]
    with pytest.raises(InputError, match=r"the least is tiny with"):
        pick(table, 1e-9)
    with pytest.raises(InputError, match="known at 32, 64"):
        pick(table, 1, 128)
    assert main(["pick", str(plan.folder), "--gmacs", str(middle)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("tiny+channels3: 20.40 dB (20.10 to 20.70)")
    assert "not distinguished from it by these seeds: tiny\n" in said
    with pytest.raises(FileError, match="cannot be read"):
        read_table(tmp_path)


def test_a_table_that_was_damaged_is_an_error(tmp_path):
    plan = plan_of(tmp_path)
    pretend(plan, {"base": [20.0, 20.2]})
    write_tables(plan)
    table = read_table(plan.folder)
    for column in ("psnr", "gmacs_32"):
        with pytest.raises(InputError, match=f"{column} of tiny is '2O'; the command"):
            pick([{**table[0], column: "2O"}], 1)
    with pytest.raises(InputError, match="known at no size"):
        pick([{"name": "tiny", "psnr": "20"}], 1)
    (plan.folder / "results.csv").write_text("x" * 200_000, encoding="utf-8")
    with pytest.raises(FileError, match="damaged"):
        read_table(plan.folder)


def test_a_table_of_something_else_is_refused(tmp_path):
    with (tmp_path / "results.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a"], ["b"]])
    with pytest.raises(FileError, match="no results of `vaezoo ablate`"):
        read_table(tmp_path)


def test_a_pareto_front_holds_what_nothing_beats():
    points = [(1, 10), (2, 9), (2, 12), (3, 12), (4, 15), (1, 8)]
    assert pareto(points) == [(1, 10), (2, 12), (4, 15)]
