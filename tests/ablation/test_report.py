"""The report: what it says, and that a real browser shows and sorts it, also on a phone."""

import os
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest
from support.ablations import plan_of, pretend, pretend_measuring

from vaezoo.ablation.plots import _dots
from vaezoo.ablation.report import check_extra, conditions, write_report
from vaezoo.ablation.run_results import write_result, write_tables
from vaezoo.ablation.summary import Summary
from vaezoo.ablation.table import _compared
from vaezoo.errors import FileError
from vaezoo.io.files import make_folder

COSTS = {"recipe": "", "steps": "", "seeds": ""}  # without trainings
PSNR = {"base": [20.0, 20.2], "channels3": [9.5, 9.7]}


def written(folder, **changes):
    """The folder of a report on made-up results, of which one run failed."""
    plan = plan_of(folder, **changes)
    if plan.runs:
        pretend(plan, PSNR)
        failed = next(run for run in plan.runs if run.variant.label == "channels4")
        write_result(make_folder(plan.folder_of(failed)), {"error": "RuntimeError: <out> of memory"})
    if plan.ablation.measure:
        pretend_measuring(plan, {"base": 0.1, "channels3": 0.05})
    write_report(plan, write_tables(plan), "vaezoo ablate question.yaml --out 'my answer'")
    return plan.folder


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return written(tmp_path_factory.mktemp("report"), measure="{what: [decode], sizes: [32]}")


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium, without a window; tests are skipped where it is absent, but never in CI."""
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        reason = "chromium and chromedriver are needed: apt-get install chromium chromium-driver"
        if os.environ.get("VAEZOO_REQUIRE_BROWSER"):
            pytest.fail(f"{reason}, and VAEZOO_REQUIRE_BROWSER is set")
        pytest.skip(reason)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def show(browser, page, width):
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


def column(browser, index):
    rows = "[...document.querySelectorAll('#variants tbody tr')]"
    return browser.execute_script(f"return {rows}.map(row => row.cells[{index}].firstChild.textContent)")


def test_the_page_says_all_and_needs_nothing_else(report):
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "Do &lt;more&gt; channels help the tiny network?" in page
    assert "RuntimeError: &lt;out&gt; of memory" in page
    for words in ("tiny has the highest PSNR, 20.10 dB", "-10.50", "20.00 to 20.20", "my answer", "channels 2 → 3"):
        assert words in page
    assert page.count("data:image/svg+xml;base64,") == 6
    assert re.search(r"channels3<br>\d+\.\d\d dB</figcaption>", page)  # of its crop
    assert re.search(r"<pre>vaezoo train \S+-s0/train --steps 20 --out \S+_longer/channels3</pre>", page)
    assert page.count("data:image/png;base64,") == 3  # a photo, by base and channels3
    outside = re.findall(r"""(?:src|href|action)\s*=\s*["']?(?!data:)[^"'>]+|url\(|@import|https?://""", page)
    assert outside == []


@pytest.mark.parametrize(
    ("values", "more", "better"),
    [
        ([20.3, 20.5], True, True),
        ([20.3, 20.5], False, False),
        ([19.0, 19.5], True, False),
        ([20.1, 20.9], True, None),  # the ranges overlap
        ([21.0], True, None),  # one seed may be chance
        ([20.3, 20.5], None, None),
    ],
)
def test_a_difference_within_the_spread_has_no_color(values, more, better):
    assert _compared(values, [20.0, 20.2], 2, more)["better"] is better


def test_markdown_shows_the_plots_beside_it(report):
    text = (report / "report.md").read_text(encoding="utf-8")
    plots = re.findall(r"\]\((plots/\w+\.svg)\)", text)
    assert len(plots) == 6
    for plot in plots:
        root = ElementTree.parse(report / plot).getroot()
        assert root.tag.endswith("svg")
    head, _, *rows = [line for line in text.splitlines() if line.startswith("| ")][:5]
    assert head.startswith("| variant | PSNR (dB) |")
    assert [row.split(" | ")[0] for row in rows] == ["| `base`", "| `channels3`", "| `channels4`"]
    assert {row.count("|") for row in rows} == {head.count("|")}


def test_each_run_has_its_curves(report):
    assert len(list(report.glob("runs/*/train/curves.svg"))) == 4  # of the base and channels3, with two seeds each


@pytest.mark.slow
def test_pictures_are_those_of_runs_that_are_done(tmp_path):
    plan = plan_of(tmp_path)
    pretend(plan, {"base": [20.0]})
    base, begun = (plan.folder_of(run) for run in plan.runs[:2])
    for name in ("input", "output"):
        shutil.copy(base / f"{name}_0.png", base / f"{name}_1.png")
    shutil.copy(base / "output_0.png", make_folder(begun) / "output_0.png")  # by somebody who is about to write more
    write_report(plan, write_tables(plan), "my answer")
    assert (plan.folder / "report.html").read_text(encoding="utf-8").count("data:image/png") == 4


@pytest.mark.slow
def test_of_many_points_the_front_and_the_base_are_named(tmp_path):
    plan = plan_of(tmp_path, grid="{latent.channels: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}")
    psnr = {variant.label: [20.0 + (variant.label == "channels7")] * 2 for variant in plan.variants}
    pretend(plan, psnr)
    write_report(plan, write_tables(plan), "my answer")
    names = re.findall(r">(base|channels\d+)</text>", (plan.folder / "plots/quality_gmacs.svg").read_text())
    assert sorted(names) == ["base", "channels1", "channels7"]
    curves = (plan.folder / "plots/curves_psnr.svg").read_text()
    assert len(re.findall(r">(base|channels\d+)</text>", curves)) == 12
    assert "stroke-dasharray: 5.55,2.4" in curves  # the eleventh has the colour of the first


def test_two_spellings_of_a_folder_are_one(tmp_path):
    plan = plan_of(tmp_path, evaluation="{root: PHOTOS/../photos, size: 32, nets: []}")
    assert any("are those that were trained on" in text for text in conditions(plan, []))


def test_costs_alone_make_a_report(tmp_path):
    folder = written(tmp_path, **COSTS)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Nothing was trained" in page
    assert "The same crops" not in page
    assert {path.name for path in (folder / "plots").iterdir()} == {"gmacs.svg", "params.svg"}


def test_what_was_measured_is_shown_and_what_failed_says_so(report):
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "Speeds are those of one image at a time in fp32, channels_last on" in page
    head, _, *rows = [line for line in (report / "report.md").read_text("utf-8").splitlines() if line[:2] == "| "][:5]
    at = head.split(" | ").index("decode at 32 (images/s)")
    assert [row.split(" | ")[at] for row in rows] == [
        "10.00 [5.00 to 20.00]",
        "20.00 (+100.0 %) [10.00 to 40.00]",
        "failed",
    ]
    assert "`tiny+channels4`: decode at 32x32: killed by SIGKILL" in (report / "report.md").read_text("utf-8")
    assert (report / "plots" / "quality_speed.svg").exists()


def test_the_table_shows_a_choice_of_costs(report):
    (head,) = [line for line in (report / "report.md").read_text("utf-8").splitlines() if line.startswith("| variant")]
    assert head.strip("| ").split(" | ")[3:-2] == [
        "parameters (M)",
        "GMACs at 32",
        "share of attention",
        "activation peak (MiB)",
        "output sees (px)",
        "compression",
        "latent of 32",
    ]


def test_long_names_break_behind_a_comma(tmp_path):
    page = (written(tmp_path, grid="{latent.channels: [3], encoder.0.out: [12]}", **COSTS) / "report.html").read_text(
        "utf-8"
    )
    assert "<span>channels3,<wbr>out12</span>" in page


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(FileError, match=r"needs matplotlib: pip install 'vaezoo\[ablate\]', or --no-report"):
        check_extra()


@pytest.mark.slow
def test_headings_sort_by_number_and_there_is_no_error(browser, report):
    show(browser, report / "report.html", 1200)
    headings = browser.find_elements("css selector", "#variants th button")
    assert column(browser, 1) == ["20.10", "9.60", ""]
    headings[1].click()
    assert column(browser, 1) == ["9.60", "20.10", ""]  # not as text, and what is missing last
    headings[1].click()
    assert column(browser, 1) == ["20.10", "9.60", ""]
    headings[0].click()
    assert column(browser, 0) == ["base", "channels3", "channels4"]
    assert browser.execute_script("return document.querySelectorAll('[aria-sort]').length") == 1
    broken = "return [...document.images].filter(image => !image.complete || !image.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    assert browser.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_no_page_is_wider_than_its_screen(browser, report, width):
    show(browser, report / "report.html", width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    sizes = "[...document.querySelectorAll('p, td, th')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert browser.execute_script(f"return Math.min(...{sizes})") >= 13
    wide = "return Math.max(...[...document.images].map(image => image.getBoundingClientRect().right))"
    assert browser.execute_script(wide) <= width
    assert browser.execute_script("return document.querySelector('#variants td').offsetWidth") >= 100


def test_numbers_of_close_results_do_not_overlap():
    axes = pytest.importorskip("matplotlib.figure").Figure((4, 3)).add_subplot()
    variants = (SimpleNamespace(label="a"), 15.717), (SimpleNamespace(label="b"), 15.7475)
    _dots(axes, [Summary(variant, {}, ({"psnr": psnr},)) for variant, psnr in variants])
    assert len(axes.get_xticks()) <= 6
