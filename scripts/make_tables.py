"""Write the generated sections of README and docs; `--check` reports whether they are up to date.

A generated section is between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

import argparse
import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from argument_tables import arguments, blocks, objectives
from performance_tables import decode_profile, encoding, performance, row_profile, scaling
from result_tables import answer, benchmark, latent_sizes, results, runs, table_of, taesd, tiles

import vaezoo
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.io.escape import markdown_text
from vaezoo.nn.distributions import LATENTS
from vaezoo.specs.catalog import files
from vaezoo.specs.model import HALVES, Expect
from vaezoo.specs.names import parse_name
from vaezoo.training.objective.adversary import Adversary
from vaezoo.training.objective.discriminator import DISCRIMINATORS
from vaezoo.training.objective.losses import LOSSES
from vaezoo.training.objective.regularizers import REGULARIZERS
from vaezoo.weights.record_schema import QuotedMetrics
from vaezoo.weights.records import NamedWeights, find_record, list_pretrained, read_records

ROOT = Path(__file__).resolve().parents[1]
GENERATED = (
    "ablations",
    "benchmark",
    "configs",
    "evaluation",
    "hub",
    "inference",
    "latents",
    "models",
    "objectives",
    "performance",
    "training",
)
PAGES = ("README.md", *(f"docs/{name}.md" for name in GENERATED))
OURS = "vae_*"  # networks of published VAEs have the names of their families


def models() -> str:
    """Table of the networks of this project: f, z, parameters and GMACs of each half at 256x256, weights."""
    rows = [
        "network | f | z | parameters, encoder + decoder | GMACs at 256x256 | weights",
        "--- | --: | --: | --: | --: | ---",
    ]
    for name in vaezoo.list_models(OURS):
        known = described(name)
        tags = ", ".join(f"`{tagged.tag}`" for tagged in known.weights)
        rows.append(f"`{name}` | {_figures(known)} | {tags}")
    return table_of(rows)


def zoo() -> str:
    """Table of all networks and weights; a network is in the row of its default weights."""
    rows = [
        "network | f | z | parameters, encoder + decoder | GMACs at 256x256 | proof | weights | license | layout | "
        "aliases | quoted",
        "--- | --: | --: | --: | --: | --- | --- | --- | --- | --- | ---",
    ]
    for name in vaezoo.list_models():
        known = described(name)
        network = f"`{name}` | {_figures(known)} | {_proof(known.spec.expect)}"
        default = read_records(name).default
        for tagged in sorted(known.weights, key=lambda tagged: tagged.tag != default):
            rows.append(f"{network} | {_record(tagged)}")
            network = " | | | | | "
        if not known.weights:
            rows.append(f"{network} | | | | | ")
    return table_of(rows)


described = functools.cache(vaezoo.describe)  # several tables show the same networks


def _figures(known: vaezoo.Description) -> str:
    params = " + ".join(f"{known.costs.params(half) / 1e6:.2f} M" for half in HALVES)
    gmacs = " + ".join(f"{known.costs.gmacs(half):.1f}" for half in HALVES)
    return f"{known.spec.expect.downscale} | {known.spec.latent.channels} | {params} | {gmacs}"


def _proof(expect: Expect) -> str:
    """Return the implementation that the network is verified against."""
    proof = expect.proof
    if proof is None:
        return ""
    if proof.second:
        return "second implementation"
    return f"diffusers `{proof.diffusers}`{', changed by hand' if proof.because else ''}"


def _record(tagged: NamedWeights) -> str:
    """Return the cells of one set of weights: tag and obstacles, license, layout, aliases, quoted metrics."""
    record = tagged.record
    marks = {
        "gated": record.gated,
        "pickle": record.pickle_only,
        "TorchScript": record.torchscript_only,
        f"withdrawn in {record.removed_in}": record.removed_in,
        "unverified": not record.verified,
    }
    hints = ", ".join(words for words, given in marks.items() if given)
    tag = f"`{tagged.tag}`{f' ({hints})' if hints else ''}"
    aliases = ", ".join(f"`{alias}`" for alias in record.aliases)
    quotes = "; ".join(_quote(quoted) for quoted in record.quoted)
    layout = f"`{record.layout}`" if record.layout else ""
    return f"{tag} | {markdown_text(record.license)} | {layout} | {aliases} | {quotes}"


def _quote(quoted: QuotedMetrics) -> str:
    figures = ", ".join(f"{name} {value:g}" for name, value in quoted.values.items())
    return markdown_text(f"{figures} ({quoted.data}; {quoted.source})")


def weights() -> str:
    """Table of the weights of this project: license, PSNR and its conditions."""
    rows = ["weights | license | PSNR (dB) | measured on | summary", "--- | --- | --: | --- | ---"]
    for name in list_pretrained(OURS):
        record = find_record(parse_name(name)).record
        metrics = record.metrics
        psnr = f"{metrics.psnr:.2f}" if metrics else ""
        where = f"{metrics.images} images of {metrics.data}, {metrics.protocol}" if metrics else ""
        rows.append(f"`{name}` | {record.license} | {psnr} | {where} | {record.summary}")
    return table_of(rows)


def kinds() -> str:
    """Table of the kinds of latents."""
    return table_of(
        ["kind | what it is", "--- | ---", *(f"`{name}` | {_first(kind)}" for name, kind in LATENTS.items())]
    )


def layouts() -> str:
    """Table of the layouts."""
    rows = [f"`{name}` | {layout.about}" for name, layout in LAYOUTS.items()]
    return table_of(["layout | what it is", "--- | ---", *rows])


def _first(thing: Any) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


SECTIONS: dict[str, Callable[[], str]] = {
    "models": models,
    "zoo": zoo,
    "weights": weights,
    "taesd": taesd,
    "latent_sizes": latent_sizes,
    "tiles": tiles,
    "results": results,
    "benchmark": benchmark,
    "performance": performance,
    "scaling": scaling,
    "decode_profile": decode_profile,
    "row_profile": row_profile,
    "encoding": encoding,
    "runs": runs,
    **{f"answer_{name}": functools.partial(answer, name) for name in files("ablations") if name != "quickstart"},
    "blocks": blocks,
    "losses": functools.partial(objectives, LOSSES),
    "regularizers": functools.partial(objectives, REGULARIZERS),
    "discriminators": functools.partial(objectives, DISCRIMINATORS),
    "adversary": functools.partial(arguments, Adversary),
    "kinds": kinds,
    "layouts": layouts,
}


def regenerate(text: str) -> str:
    """Return a page with its generated sections rewritten."""
    for name, section in SECTIONS.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if start in text:
            before, _, rest = text.partition(start)
            if end not in rest:
                sys.exit(f"{start} is not closed by {end}")
            text = f"{before}{start}\n\n{section()}\n\n{end}{rest.partition(end)[2]}"
    return text


def main() -> int:
    """Write the pages, or with `--check` print those that are out of date and return 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, and fail if something would change")
    check, stale = parser.parse_args().check, []
    for page in PAGES:
        before = (ROOT / page).read_text(encoding="utf-8")
        after = regenerate(before)
        if after != before:
            stale.append(page)
            if not check:
                (ROOT / page).write_text(after, encoding="utf-8")
    if stale:
        print(f"out of date: {', '.join(stale)}" if check else f"written: {', '.join(stale)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
