"""The terminal output of a run: progress while it trains, and a summary at its end."""

import sys
import time
from pathlib import Path
from typing import Any

from vaezoo.io.escape import terminal_text
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.run import Report

_NOT_LOSSES = ("step", "loss", "lr", "size", "seconds", "skipped", "bad_pictures", "images_per_second", "data_wait")


class Display:
    """Progress of a run: one line that is updated in place on a terminal, otherwise one line per line of the log.

    Args:
        recipe: Recipe of the run; its number of steps is shown.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.steps, self.live = recipe.steps, sys.stdout.isatty()
        self.first: tuple[float, int] | None = None  # time and step of the first line
        self.width = 0

    def show(self, line: dict[str, Any]) -> None:
        """Show one line of the log."""
        if "psnr" in line:
            self._print(f"step {line['step']}: PSNR {line['psnr']:.2f} dB on the validation photos", stay=True)
        elif "loss" in line:
            self._print(self._text(line), stay=not self.live)

    def message(self, text: str) -> None:
        """Show a message on a line of its own."""
        self._print(text, stay=True)

    def _text(self, line: dict[str, Any]) -> str:
        losses = [f"{k} {v:.4g}" for k, v in line.items() if k not in _NOT_LOSSES and not k.endswith("grad_norm")]
        parts = [
            f"step {line['step']}/{self.steps}",
            f"loss {line['loss']:.4f} ({', '.join(losses)})",
            f"{line['images_per_second']:.1f} images/s",
            f"waiting for data {line['data_wait']:.0%}",
            f"{self._left(line['step'])} left",
        ]
        if line["skipped"]:
            parts.append(f"{line['skipped']} steps skipped")
        return "  ".join(parts)

    def _left(self, step: int) -> str:
        now = time.monotonic()
        if self.first is None:
            self.first = now, step
        seconds, steps = now - self.first[0], step - self.first[1]
        if step >= self.steps:
            return duration(0)
        return duration((self.steps - step) * seconds / steps) if steps else "?"

    def _print(self, text: str, stay: bool) -> None:
        text = terminal_text(text)
        blank = " " * (self.width - len(text))
        print(f"\r{text}{blank}" if self.live else text, end="\n" if stay else "", flush=True)
        self.width = 0 if stay else len(text)


def duration(seconds: float) -> str:
    """Format a time for people: 45 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def closing_text(report: Report, recipe: Recipe, run: Path) -> str:
    """Summarize a run in a few lines.

    Args:
        report: Outcome of the run.
        recipe: Recipe of the run.
        run: Run folder, which the suggested commands name.
    """
    at = report.progress
    lines = [f"{at.step} of {recipe.steps} steps in {duration(at.seconds)}, {at.seen} crops"]
    if report.psnr is not None:
        lines.append(f"validation PSNR {report.psnr:.2f} dB; the best was {at.best:.2f} dB at step {at.best_step}")
    if at.skipped:
        lines.append(f"{at.skipped} steps skipped, because the gradient was not finite")
    if at.bad:
        lines.append(f"{len(at.bad)} bad pictures skipped, the first: {at.bad[0]}")
    if report.stopped:
        lines.append(f"stopped by {report.stopped}, and saved: continue with --resume")
    lines.append(f'load it: vaezoo.create("local-dir:{run}", pretrained=True)')
    lines.append(f"share it: vaezoo publish {run} org/name --license LICENSE")
    return "\n".join(lines)
