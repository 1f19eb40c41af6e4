"""Curves of a run."""

import sys

import pytest

from vaezoo.training.curves import CURVES, NO_CURVES, draw_curves
from vaezoo.training.log import Log


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path, 0)


def test_loss_and_psnr_are_drawn_over_the_steps(log, tmp_path):
    assert draw_curves(tmp_path) is None  # an empty log
    for step in range(1, 5):
        log.add(step=step, loss=float("nan") if step == 2 else 1 / step)
    draw_curves(tmp_path)
    loss_only = (tmp_path / CURVES).read_text(encoding="utf-8")
    log.add(step=4, psnr=21.5)
    log.add(step=5, psnr=21.501)
    assert draw_curves(tmp_path) == tmp_path / CURVES
    drawn = (tmp_path / CURVES).read_text(encoding="utf-8")
    assert "training loss" in loss_only
    assert "PSNR (dB)" not in loss_only
    assert "PSNR (dB)" in drawn
    assert ">21.501" in drawn  # and not 0.001 with +2.15e1 above
    draw_curves(tmp_path)
    assert (tmp_path / CURVES).read_text(encoding="utf-8") == drawn  # equal logs give equal files


def test_a_single_value_is_drawn_as_a_point(log, tmp_path):
    marker = "fill: #1f77b4"  # of the first color of matplotlib; a line has no fill
    log.add(step=30, loss=0.2)
    draw_curves(tmp_path)
    assert marker in (tmp_path / CURVES).read_text(encoding="utf-8")
    log.add(step=31, loss=0.1)
    draw_curves(tmp_path)
    assert marker not in (tmp_path / CURVES).read_text(encoding="utf-8")


def test_without_matplotlib_nothing_is_drawn_and_the_extra_is_named(log, tmp_path, monkeypatch):
    log.add(step=1, loss=1.0)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw_curves(tmp_path) is None
    assert "vaezoo[ablate]" in NO_CURVES
