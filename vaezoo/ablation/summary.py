"""Summaries of an ablation: each variant over its seeds, the answer to the question, and the variant to pick."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vaezoo.ablation.measured_costs import measured_columns
from vaezoo.ablation.plan import AblationPlan
from vaezoo.ablation.run_results import ResultRow
from vaezoo.ablation.variants import Variant
from vaezoo.errors import InputError


@dataclass(frozen=True)
class Summary:
    """A variant over its seeds.

    Args:
        variant: The variant.
        costs: Counted and measured costs, by column.
        rows: Rows of the runs that have a PSNR.
        errors: Errors of the runs that failed.
    """

    variant: Variant
    costs: dict[str, Any]
    rows: tuple[ResultRow, ...] = ()
    errors: tuple[str, ...] = ()

    def values(self, column: str) -> list[float]:
        """Return the values of a column over the seeds for which it was measured."""
        return [row[column] for row in self.rows if row.get(column) is not None]

    @property
    def psnr(self) -> list[float]:
        """PSNR of each seed, in dB."""
        return self.values("psnr")

    @property
    def seeds(self) -> int:
        """Number of seeds with a PSNR."""
        return len(self.rows)

    @property
    def mean(self) -> float:
        """Mean PSNR over the seeds, in dB; there must be rows."""
        return mean(self.psnr)

    @property
    def low(self) -> float:
        """PSNR of the worst seed, in dB; there must be rows."""
        return min(self.psnr)

    @property
    def high(self) -> float:
        """PSNR of the best seed, in dB; there must be rows."""
        return max(self.psnr)


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value."""
    return sum(values) / len(values)


def summarize(plan: AblationPlan, rows: Sequence[ResultRow]) -> list[Summary]:
    """Return one summary per variant, the base first."""
    summaries = []
    for variant in plan.variants:
        own = [row for row in rows if row["spec_hash"] == variant.spec.hash[:12]]
        done = tuple(row for row in own if row.get("psnr") is not None)
        costs = {**variant.costs, **measured_columns(plan, variant)}
        summaries.append(Summary(variant, costs, done, tuple(row["error"] for row in own if row["error"])))
    return summaries


def answer(plan: AblationPlan, rows: Sequence[ResultRow]) -> str:
    """Answer the question of an ablation in sentences, as far as its rows allow."""
    summaries = summarize(plan, rows)
    trained = [each for each in summaries if each.rows]
    sentences: list[str] = []
    if not plan.runs:
        return _by_cost(summaries, plan.ablation.sizes[0])
    missing = len(plan.runs) - sum(len(each.rows) + len(each.errors) for each in summaries)
    failed = sum(len(each.errors) for each in summaries)
    if trained:
        sentences += _by_quality(summaries[0], trained, plan.ablation.sizes[0])
    if missing or failed:
        sentences.append(f"Of {len(plan.runs)} runs {missing} are missing and {failed} failed.")
    return " ".join(sentences)


def _by_quality(base: Summary, trained: Sequence[Summary], size: int) -> Iterator[str]:
    best = max(trained, key=lambda each: each.mean)
    yield f"{best.variant.name} has the highest PSNR, {_psnr(best)}."
    if best is not base and base.rows:
        yield f"Against the base, {_psnr(base)}, that is {best.mean - base.mean:+.2f} dB, {_verdict(best, base)}."
        yield f"It costs {cost_change(best, base, size)}."
    tied = [each for each in trained if each is not best and not beats(best, each)]
    if others := [each.variant.name for each in tied if each is not base]:
        yield f"These runs do not distinguish it from {', '.join(others)}."
    if not tied and len(trained) > 1:
        yield "The seeds of no other variant overlap with its own."
    cheap = min([best, *tied], key=lambda each: each.costs[f"gmacs_{size}"])
    if cheap is not best:
        yield f"Of the variants that these runs do not distinguish, {cheap.variant.name} takes the fewest GMACs."


def _psnr(summary: Summary) -> str:
    seeds = f"{len(summary.rows)} seed{'s' if len(summary.rows) > 1 else ''}"
    return f"{summary.mean:.2f} dB ({summary.low:.2f} to {summary.high:.2f} over {seeds})"


def _verdict(best: Summary, other: Summary) -> str:
    if beats(best, other):
        return "more than the spread: each of its seeds is above each seed of the base"
    if min(len(best.rows), len(other.rows)) < 2:
        return "but with one seed per variant this may be chance"
    return "within the spread over seeds, so these runs do not distinguish the two"


def cost_change(summary: Summary, base: Summary, size: int) -> str:
    """Describe how much more a variant costs than the base."""
    parts = []
    for column, words in (("params", "parameters"), (f"gmacs_{size}", f"GMACs at {size}x{size}")):
        new, old = summary.costs[column], base.costs[column]
        parts.append(f"{100 * (new - old) / old:+.1f} % {words}" if new != old else f"the same number of {words}")
    return " and ".join(parts)


def _by_cost(summaries: Sequence[Summary], size: int) -> str:
    base, column = summaries[0], f"gmacs_{size}"
    parts = []
    for word, choose in (("fewest", min), ("most", max)):
        each = choose(summaries, key=lambda summary: summary.costs[column])
        change = "the base" if each is base else f"{cost_change(each, base, size)} against the base"
        gmacs = f"{each.costs[column]:.3f} ({change})"
        parts.append(f"{each.variant.name} takes the {word} GMACs at {size}x{size}, {gmacs}")
    return f"Nothing was trained. {'; '.join(parts)}."


@dataclass(frozen=True)
class Pick:
    """A variant of a table: its GMACs, its number of seeds, and the lowest, mean and highest PSNR over them, in dB."""

    name: str
    gmacs: float
    seeds: int
    low: float
    mean: float
    high: float


def beats(better: Summary | Pick, worse: Summary | Pick) -> bool:
    """Return whether all seeds of one are better than all seeds of the other, with at least two seeds each."""
    return min(better.seeds, worse.seeds) > 1 and better.low > worse.high


def pick(table: Sequence[dict[str, str]], gmacs: float, size: int | None = None) -> list[Pick]:
    """Select the variants of a table within a budget.

    Args:
        table: Rows, as `read_table` returns them.
        gmacs: The most GMACs that encoder and decoder may take together, for one image.
        size: Pixels per side of the image; `None` is the first size of the table.

    Returns:
        The variants by mean PSNR, the highest first; at least one.

    Raises:
        InputError: If the table has no such size, no PSNR or an invalid number, or no variant is within the budget.
    """
    sizes = [column.removeprefix("gmacs_") for column in table[0] if column.removeprefix("gmacs_").isdecimal()]
    if not sizes or (size is not None and str(size) not in sizes):
        raise InputError(f"--size {size}: costs are known at {', '.join(sizes) or 'no size'}")
    column = f"gmacs_{size or sizes[0]}"
    found: dict[str, list[dict[str, str]]] = {}
    for row in table:
        if row.get("psnr"):
            found.setdefault(row["name"], []).append(row)
    if not found:
        raise InputError(
            "these results have no PSNR: nothing was trained, or all runs failed; give the ablation a recipe"
        )
    picks = []
    for name, rows in found.items():
        values = [_number(row, "psnr") for row in rows]
        picks.append(Pick(name, _number(rows[0], column), len(values), min(values), mean(values), max(values)))
    fitting = [each for each in picks if each.gmacs <= gmacs]
    if not fitting:
        least = min(picks, key=lambda each: each.gmacs)
        raise InputError(f"no variant takes at most {gmacs:g} GMACs; the least is {least.name} with {least.gmacs:.3f}")
    return sorted(fitting, key=lambda each: -each.mean)


def _number(row: dict[str, str], column: str) -> float:
    try:
        return float(row[column])
    except (ValueError, TypeError) as error:  # None if the row was cut off
        text = f"{column} of {row['name']} is {row[column]!r}; the command of the ablation rewrites results.csv"
        raise InputError(text) from error
