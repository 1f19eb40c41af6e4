"""What the rows of an ablation say: each variant over its seeds, the answer, and which to pick."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from vaezoo.ablation.measured_costs import measured_columns
from vaezoo.ablation.plan import AblationPlan
from vaezoo.ablation.run_results import ResultRow
from vaezoo.ablation.variants import Variant
from vaezoo.errors import InputError


@dataclass(frozen=True)
class Summary:
    """A variant, what it costs, the rows of its trainings that ended well, and what went wrong with others."""

    variant: Variant
    costs: dict[str, Any]
    rows: tuple[ResultRow, ...] = ()
    errors: tuple[str, ...] = field(default=())

    def values(self, column: str) -> list[float]:
        """A column over the seeds, where it was measured."""
        return [row[column] for row in self.rows if row.get(column) is not None]

    @property
    def psnr(self) -> list[float]:
        """In dB, of each seed."""
        return self.values("psnr")

    @property
    def mean(self) -> float | None:
        """PSNR in dB, over the seeds."""
        return mean(self.psnr)

    @property
    def low(self) -> float:
        """PSNR in dB of the worst seed."""
        return min(self.psnr)

    @property
    def high(self) -> float:
        """PSNR in dB of the best seed."""
        return max(self.psnr)


def mean(values: Sequence[float]) -> float | None:
    """None where there is no value."""
    return sum(values) / len(values) if values else None


def summarize(plan: AblationPlan, rows: Sequence[ResultRow]) -> list[Summary]:
    """One summary a variant, the base first."""
    found = []
    for variant in plan.variants:
        own = [row for row in rows if row["spec_hash"] == variant.spec.hash[:12]]
        done = tuple(row for row in own if row.get("psnr") is not None)
        costs = {**variant.costs, **measured_columns(plan, variant)}
        found.append(Summary(variant, costs, done, tuple(row["error"] for row in own if row["error"])))
    return found


def apart(better: Summary, worse: Summary) -> bool:
    """Whether every seed of one is better than every seed of the other; one seed alone tells nothing."""
    return min(len(better.rows), len(worse.rows)) > 1 and better.low > worse.high


def answer(plan: AblationPlan, rows: Sequence[ResultRow]) -> str:
    """The answer to the question as far as the rows give one, in sentences."""
    found = summarize(plan, rows)
    trained = [each for each in found if each.rows]
    lines = []
    if not plan.runs:
        return _by_cost(found, plan.ablation.sizes[0])
    missing = len(plan.runs) - sum(len(each.rows) + len(each.errors) for each in found)
    failed = sum(len(each.errors) for each in found)
    if trained:
        lines += _by_quality(found[0], trained, plan.ablation.sizes[0])
    if missing or failed:
        lines.append(f"Of {len(plan.runs)} runs {missing} are missing and {failed} failed.")
    return " ".join(lines)


def _by_quality(base: Summary, trained: Sequence[Summary], size: int) -> Iterator[str]:
    best = max(trained, key=lambda each: each.mean)
    yield f"{best.variant.name} has the highest PSNR, {_psnr(best)}."
    if best is not base and base.rows:
        yield f"Against the base, {_psnr(base)}, that is {best.mean - base.mean:+.2f} dB, {_verdict(best, base)}."
        yield f"It costs {cost_change(best, base, size)}."
    tied = [each for each in trained if each is not best and not apart(best, each)]
    if others := [each.variant.name for each in tied if each is not base]:
        yield f"The runs do not tell it from {', '.join(others)}."
    if not tied and len(trained) > 1:
        yield "The seeds of no other variant overlap with its own."
    cheap = min([best, *tied], key=lambda each: each.costs[f"gmacs_{size}"])
    if cheap is not best:
        yield f"Of those that cannot be told apart, {cheap.variant.name} takes the fewest GMACs."


def _psnr(summary: Summary) -> str:
    seeds = f"{len(summary.rows)} seed{'s' if len(summary.rows) > 1 else ''}"
    return f"{summary.mean:.2f} dB ({summary.low:.2f} to {summary.high:.2f} over {seeds})"


def _verdict(best: Summary, other: Summary) -> str:
    if apart(best, other):
        return "more than the spread: each of its seeds is above each of the base's"
    if min(len(best.rows), len(other.rows)) < 2:
        return "and with one seed nobody knows how much of that is chance"
    return "within the spread over seeds, so these runs do not tell the two apart"


def cost_change(summary: Summary, base: Summary, size: int) -> str:
    """How much dearer it is than the base, in words."""
    parts = []
    for column, words in (("params", "parameters"), (f"gmacs_{size}", f"GMACs at {size}x{size}")):
        new, old = summary.costs[column], base.costs[column]
        parts.append(f"{100 * (new - old) / old:+.1f} % {words}" if new != old else f"no more or fewer {words}")
    return " and ".join(parts)


def _by_cost(found: Sequence[Summary], size: int) -> str:
    base, column = found[0], f"gmacs_{size}"
    said = []
    for word, chosen in (("fewest", min), ("most", max)):
        each = chosen(found, key=lambda one: one.costs[column])
        change = "the base" if each is base else f"{cost_change(each, base, size)} against the base"
        said.append(f"{each.variant.name} takes the {word} GMACs at {size}x{size}, {each.costs[column]:.3f} ({change})")
    return f"Nothing was trained. {'; '.join(said)}."


@dataclass(frozen=True)
class Pick:
    """A variant of a table: its GMACs, and PSNR in dB over its seeds, worst, mean and best."""

    name: str
    gmacs: float
    seeds: int
    low: float
    mean: float
    high: float

    def beats(self, other: "Pick") -> bool:
        """Whether every seed is better than every one of the other; one seed alone tells nothing."""
        return min(self.seeds, other.seeds) > 1 and self.low > other.high


def pick(table: Sequence[dict[str, str]], gmacs: float, size: int | None = None) -> list[Pick]:
    """The variants of a table within a budget, by mean PSNR, best first.

    Args:
        table: From `read_table`.
        gmacs: The most that encoder and decoder may take together, for one image.
        size: Pixels per side of it; None is the first size of the table.

    Raises:
        InputError: If the table has no such size or no trainings, a cell that is no number, or no variant within the
            budget.
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
    except (ValueError, TypeError) as error:  # None in a row that was cut off
        text = f"{column} of {row['name']} is {row[column]!r}; the command of the ablation writes results.csv anew"
        raise InputError(text) from error
