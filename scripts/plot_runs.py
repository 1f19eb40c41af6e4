"""Plot the curves of training runs to docs/images/runs.svg: `python scripts/plot_runs.py` (needs vaezoo[ablate])."""

import json
from pathlib import Path

import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parents[1] / "docs"
WINDOW = 10  # each point of the loss is the mean of this many lines of the log


def main() -> None:
    figure, (loss, psnr) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for path in sorted((DOCS / "results" / "runs").glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        steps = [line for line in lines if line.get("l1") is not None]
        means = [
            sum(line["l1"] for line in steps[max(0, i - WINDOW) : i + 1]) / len(steps[max(0, i - WINDOW) : i + 1])
            for i in range(len(steps))
        ]
        loss.plot([line["seconds"] / 60 for line in steps], means, label=path.stem)
        validations = [line for line in lines if "psnr" in line]
        times = [max(x["seconds"] for x in steps if x["step"] <= line["step"]) / 60 for line in validations]
        psnr.plot(times, [line["psnr"] for line in validations], marker="o", label=path.stem)
    loss.set(xlabel="minutes", ylabel="mean L1 of training crops", ylim=(0, None))
    psnr.set(xlabel="minutes", ylabel="PSNR (dB) of photos/val at 256, EMA")
    psnr.legend()
    (DOCS / "images").mkdir(exist_ok=True)
    plt.rcParams["svg.hashsalt"] = "vaezoo"  # the same logs give the same file
    figure.savefig(DOCS / "images" / "runs.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
