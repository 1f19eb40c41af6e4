"""Foreign text does not act on terminals, Markdown pages and spreadsheets."""

import pytest
from support.ablations import plan_of, pretend

from vaezoo.ablation.report import write_report
from vaezoo.ablation.run_results import read_table, rows_of, write_result, write_tables
from vaezoo.evaluation.results import add_row
from vaezoo.io.escape import csv_cell, markdown_text, terminal_text
from vaezoo.io.files import make_folder

ESC = "\x1b]0;title\x07\x1b[2J"


def test_control_characters_are_shown_and_not_sent_to_a_terminal():
    assert terminal_text(f"a{ESC}\nb\t\x9b1m\u202ec") == r"a\x1b]0;title\x07\x1b[2J" + "\nb\t" + r"\x9b1m\u202ec"
    assert terminal_text("a\u200f\u2028") == r"a\u200f\u2028"
    assert terminal_text("Größe, 写真") == "Größe, 写真"


def test_markdown_shows_text_as_it_is():
    assert markdown_text("a|b\n# <img src=x> [x](y) `c` *d* vae_f8_z4") == (
        r"a\|b # \<img src=x\> \[x\](y) \`c\` \*d\* vae_f8_z4"
    )
    assert markdown_text("__a__ _b_ ~~c~~ $d$ &lt;e & f") == r"\_\_a\_\_ \_b\_ \~\~c\~\~ \$d\$ \&lt;e & f"


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-x", "@SUM(A1)", "\t=1", "\r=1", "-", "-1 =2"])
def test_a_cell_that_begins_like_a_formula_is_text(cell):
    assert csv_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-1.5", "+3", "-0.1 0.2 -3e-4", "", "a=b", "-inf"])
def test_numbers_and_other_cells_stay(cell):
    assert csv_cell(cell) == cell


def test_a_results_file_has_no_formulas_and_the_same_rows_after_another_one_is_added(tmp_path):
    path, columns = tmp_path / "results.csv", ("model", "psnr")
    for _ in range(2):
        add_row(path, {"model": "=HYPERLINK(1)", "psnr": -1.5}, columns)
    assert path.read_text() == "model,psnr\n" + "'=HYPERLINK(1),-1.500\n" * 2


def test_tables_and_reports_of_an_ablation_escape_errors(tmp_path):
    plan = plan_of(tmp_path, sizes="[32]")
    pretend(plan, {"base": [20.0, 20.2], "channels3": [20.1, 20.7]})
    write_result(make_folder(plan.folder_of(plan.runs[2])), {"error": f"=1|2 <b>{ESC}"})
    rows = write_tables(plan)
    assert "'=1|2" in {row["error"][:5] for row in read_table(plan.folder)}
    assert rows == rows_of(plan)
    write_report(plan, rows, "vaezoo ablate")
    page = (plan.folder / "report.md").read_text(encoding="utf-8")
    assert r"=1\|2 \<b\>\\x1b" in page
    assert "Do \\<more\\> channels" in page
    assert "\x1b" not in page
    assert "\x1b" not in (plan.folder / "report.html").read_text(encoding="utf-8")
