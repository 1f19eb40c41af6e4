"""What a record of weights may say: its keys, and the rules between them."""

import re
from dataclasses import dataclass
from typing import Annotated

from vaezoo.formats.layouts import LAYOUTS
from vaezoo.specs.catalog import NAME_RULE, is_name
from vaezoo.specs.check import Faults
from vaezoo.specs.stats import LatentStats
from vaezoo.specs.tree import Node, short

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
_BUNDLED = re.compile(r"\w[\w.-]*\.safetensors", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Where a file is: beside the record; in the repository `hub`, at the commit `revision`; or behind a `url`.

    What lies behind a `url` (a folder, or an archive that holds `file`) is told to people and never fetched.
    """

    file: str
    hub: str | None = None
    revision: str | None = None
    url: str | None = None

    @property
    def location(self) -> str:
        """The file and where it is, in words."""
        home = self.hub or self.url
        return f"{self.file} of {home}" if home else self.file


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Quality by one protocol (`docs/evaluation.md`): PSNR in dB, mean over the images of `data`."""

    protocol: str
    data: str
    images: int
    psnr: float


@dataclass(frozen=True, kw_only=True)
class QuotedMetrics:
    """Quality as others report it: measured on `data`, printed in `source`. Rows of two sources do not compare."""

    data: str
    source: str
    psnr: float | None = None
    ssim: float | None = None
    lpips: float | None = None
    rfid: float | None = None

    @property
    def values(self) -> dict[str, float]:
        """The figures that are given, by name."""
        known = {"PSNR": self.psnr, "SSIM": self.ssim, "LPIPS": self.lpips, "rFID": self.rfid}
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """One set of weights (`docs/hub.md`). `verified: false` marks those whose hash or commit nobody has checked."""

    source: WeightsSource
    license: str
    layout: Annotated[str | None, LAYOUTS] = None
    summary: str = ""
    sha256: str | None = None
    verified: bool = True
    trained_on: str | None = None
    recipe: str | None = None
    latent_stats: LatentStats | None = None
    metrics: Metrics | None = None
    aliases: tuple[str, ...] = ()
    removed_in: str | None = None
    pickle_only: bool = False
    torchscript_only: bool = False
    gated: bool = False
    confidence: str | None = None
    statistics_source: str | None = None
    quoted: tuple[QuotedMetrics, ...] = ()
    notes: str | None = None

    @property
    def loadable(self) -> bool:
        """Whether vaezoo can load them: neither withdrawn nor of a format that runs code."""
        return not (self.removed_in or self.pickle_only or self.torchscript_only)

    @property
    def bundled(self) -> bool:
        """Whether their file lies beside the record."""
        return self.source.hub is None and self.source.url is None

    @property
    def pinned(self) -> bool:
        """Whether the record says which commit and which content."""
        return self.sha256 is not None and (self.source.hub is None or self.source.revision is not None)


def check_record(entry: WeightsRecord, tag: str, node: Node, faults: Faults) -> None:
    """Note the faults of a record whose keys and types are right: where keys contradict, or need one another."""
    source, at = entry.source, node.value["source"].location
    runs_code = entry.pickle_only or entry.torchscript_only
    if entry.layout is None and not entry.torchscript_only:
        faults.add(node.location, tag, "missing layout; only TorchScript, which is not read, needs none")
    if source.hub and source.url:
        faults.add(at, f"{tag}.source", "hub and url exclude each other; keep the one that has the file")
    if entry.bundled and not _BUNDLED.fullmatch(source.file):
        faults.add(at, f"{tag}.source.file", "weights without a hub are a .safetensors file beside their record")
    if source.hub is None and (source.revision or entry.gated or (runs_code and source.url is None)):
        faults.add(at, f"{tag}.source", "a revision, a gate, or a file that runs code is of a repository: missing hub")
    if source.url and not entry.pickle_only:
        faults.add(at, f"{tag}.source.url", "nothing is fetched from there: needs pickle_only: true")
    if source.revision is not None and not COMMIT.fullmatch(source.revision):
        faults.add(at, f"{tag}.source.revision", "expected a commit of 40 hexadecimal digits")
    if entry.sha256 is not None and not SHA256.fullmatch(entry.sha256):
        faults.add(node.value["sha256"].location, f"{tag}.sha256", "expected 64 hexadecimal digits")
    if entry.verified and not entry.pinned:
        faults.add(at, tag, "needs sha256, and with a hub revision; where nobody has checked them, say verified: false")
    for alias in entry.aliases:
        if not is_name(alias):
            text = f"{short(alias)} is no name; a name is {NAME_RULE}"
            faults.add(node.value["aliases"].location, f"{tag}.aliases", text)
    for index, quoted in enumerate(entry.quoted):
        if not quoted.values:
            location = node.value["quoted"].value[index].location
            faults.add(location, f"{tag}.quoted[{index}]", "needs one or more of psnr, ssim, lpips and rfid")
