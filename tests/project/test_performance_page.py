"""The scripts behind `docs/performance.md`: kinds of operations, and rows with and without a peer."""

import pytest
from support.checkout import ROOT

from vaezoo.benchmark.benchmark_row import COLUMNS


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")


@pytest.mark.parametrize(
    ("name", "shapes", "kind"),
    [
        ("aten::mkldnn_convolution", [[1, 8, 4, 4], [8, 8, 3, 3]], "convolution"),
        ("aten::_convolution", [[1, 8, 4, 4], [8, 8, 4, 4]], "upsampling"),
        ("aten::upsample_nearest2d", [[1, 8, 4, 4]], "upsampling"),
        ("aten::native_group_norm", [[1, 8, 4, 4]], "group norm"),
        ("aten::silu_", [[1, 8, 4, 4]], "SiLU"),
        ("aten::add_", [[1, 8, 4, 4], [1, 8, 4, 4]], "sums"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", [], "attention"),
        ("aten::mm", [[6, 6], [6, 800]], "convolution"),
        ("aten::bmm", [[4, 4, 6], [4, 6, 800]], "convolution"),
        ("aten::bmm", [[36, 9, 64], [36, 64, 64]], "convolution"),
        ("aten::bmm", [[100, 9, 64], [100, 64, 64]], "upsampling"),
        ("aten::mm", [[1024, 512], [512, 512]], "attention"),
        ("aten::copy_", [], "copies"),
        ("aten::empty", [], "other"),
    ],
)
def test_an_operation_has_a_kind(scripts, name, shapes, kind):
    from profile_decode import kind_of

    assert kind_of(name, shapes) == kind


def test_ratios_are_shown_as_times_faster_and_a_failed_row_has_its_reason(scripts, tmp_path, monkeypatch):
    import performance_tables

    figures = {"seconds": 2, "seconds_q1": 1, "seconds_q3": 3, "peak_rss_growth_mib": 40, "matmul_share": 0.5}
    about = {"model": "a", "what": "decode", "size": 64, "dtype": "fp32", "hardware": "CPU", "cpu_features": "avx2"}
    about |= {"implementation": "vaezoo", "fast": "yes", "tile": 32, "threads": 2, "torch": "2", "batch": 1}
    ratios = {"against": "diffusers fp32 contiguous", "time_ratio": 0.5, "cpu_ratio": 0.8, "memory_ratio": 0.4}
    rows = [about | figures | ratios, about | {"error": "killed by SIGKILL"}, about | figures | {"size": 128}]
    lines = [",".join(COLUMNS), *(",".join(str(row.get(column, "")) for column in COLUMNS) for row in rows)]
    (tmp_path / "performance.csv").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(performance_tables, "RESULTS", tmp_path)
    text = performance_tables.performance()
    assert "CPU (avx2), 2 threads, torch 2:" in text
    assert "fast, strips of 32, fp32 | 2 (1 to 3) | 40 | 50% | diffusers fp32 contiguous | 2.00 | 1.25 | 0.40 |" in text
    assert "killed by SIGKILL" in text
    assert "64 to 128 | 0.00" in performance_tables.scaling()
