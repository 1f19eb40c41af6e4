"""Profile decoding by kinds of operations: `python scripts/profile_decode.py` writes `docs/results/decode_profile.csv`.

diffusers, vaezoo as it is, and its fast path decode the same latents with `torch.profiler`, in channels_last.
"""

import argparse
from pathlib import Path

import torch
from csv_rows import write_rows
from torch.profiler import ProfilerActivity, profile

from vaezoo.benchmark.benchmark_row import about
from vaezoo.benchmark.case import make_case
from vaezoo.benchmark.steps import make_network, make_step
from vaezoo.inference.strips.winograd import CONVOLUTION, UPSAMPLED

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "decode_profile.csv"
PATHS = {"diffusers": ("diffusers", False), "vaezoo": ("vaezoo", False), "vaezoo, fast": ("vaezoo", True)}
KINDS = {  # of operations by their names, which are aten:: names without leading and trailing underscores
    "group norm": ("native_group_norm", "var_mean", "addcmul", "mean", "sum", "pow"),
    "SiLU": ("silu",),
    "sums": ("add",),
    "attention": ("scaled_dot_product_flash_attention_for_cpu", "addmm", "mm", "bmm", "baddbmm", "softmax"),
    "upsampling": ("upsample_nearest2d",),
    "copies": ("copy", "cat"),
}
FOLDED = 4  # kernel of the convolution into which upsampling is folded
FILTERINGS = {"convolution": CONVOLUTION, "upsampling": UPSAMPLED}


def kind_of(name: str, shapes: list[list[int]]) -> str:
    """Return the kind of an operation with inputs of these shapes."""
    name = name.removeprefix("aten::").strip("_")
    if "conv" in name:
        return "upsampling" if len(shapes) > 1 and shapes[1][-1:] == [FOLDED] else "convolution"
    if name in ("mm", "bmm"):
        for kind, filtering in FILTERINGS.items():
            matrices = [list(filtering.values.shape), list(filtering.results.shape)]
            if shapes[0][-2:] in matrices or shapes[0][0] == len(filtering.values) ** 2:
                return kind
    return next((kind for kind, names in KINDS.items() if name in names), "other")


def profiled(network: str, size: int, dtype: str, path: str, repeats: int) -> list[dict[str, object]]:
    """Decode on one path and return a row for each kind of operation."""
    implementation, fast = PATHS[path]
    case = make_case(network, "decode", size, 1, dtype, True, "cpu", implementation, fast=fast)
    step = make_step(make_network(case), case)
    step()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        for _ in range(repeats):
            step()
    seconds = dict.fromkeys(("convolution", *KINDS, "other"), 0.0)
    for event in found.key_averages(group_by_input_shape=True):
        seconds[kind_of(event.key, event.input_shapes)] += event.self_cpu_time_total / repeats / 1e6
    row = about(case, repeats, warmup=1)
    machine = {name: row[name] for name in ("hardware", "cpu_features", "torch")} | {"threads": torch.get_num_threads()}
    conditions = {"network": network, "size": size, "dtype": dtype, "path": path}
    return [{**conditions, "kind": kind, "seconds": f"{value:.4f}", **machine} for kind, value in seconds.items()]


def main() -> None:
    """Profile all paths in every dtype and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="ldm_f8_z4")
    parser.add_argument("--size", type=int, default=512, help="pixels per side")
    parser.add_argument("--dtypes", default="fp32", help="separated by commas")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for dtype in options.dtypes.split(","):
        for path in PATHS:
            rows += profiled(options.network, options.size, dtype, path, options.repeats)
    write_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
