"""The schema of a weights record: its keys, and the rules between them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from vaezoo.formats.layouts import LAYOUTS
from vaezoo.specs.catalog import NAME, NAME_RULE
from vaezoo.specs.marks import Pattern
from vaezoo.specs.stats import LatentStats

COMMIT = re.compile(r"[0-9a-f]{40}")
Commit = Annotated[str, Pattern(COMMIT, "a commit of 40 hexadecimal digits")]
Sha256 = Annotated[str, Pattern(re.compile(r"[0-9a-f]{64}"), "64 hexadecimal digits")]
Alias = Annotated[str, Pattern(NAME, f"a name ({NAME_RULE})")]
_BUNDLED = re.compile(r"\w[\w.-]*\.safetensors", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class RecordSource:
    """Where a weights file is published; without `hub` and `url` it lies beside its record.

    Args:
        file: Name of the file in its repository, folder or archive.
        hub: Repository on the Hugging Face Hub.
        revision: Commit of the repository.
        url: Address of a folder or archive that contains `file`. It is shown in messages and never downloaded.
    """

    file: str
    hub: str | None = None
    revision: Commit | None = None
    url: str | None = None

    @property
    def description(self) -> str:
        """The file and its repository or address, for messages."""
        home = self.hub or self.url
        return f"{self.file} of {home}" if home else self.file

    def find_faults(self) -> Iterator[tuple[str, str]]:
        """Yield the faults between keys."""
        if self.hub and self.url:
            yield "", "hub and url exclude each other; keep the one that has the file"
        if self.hub is None and self.url is None and not _BUNDLED.fullmatch(self.file):
            yield "file", "weights without a hub are a .safetensors file beside their record"
        if self.hub is None and self.revision:
            yield "revision", "belongs to a repository; add hub or remove revision"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Reconstruction quality as measured by vaezoo.

    Args:
        protocol: Evaluation protocol, see `docs/evaluation.md`.
        data: Name of the data set.
        images: Number of images.
        psnr: PSNR in dB, averaged over the images.
    """

    protocol: str
    data: str
    images: int
    psnr: float


@dataclass(frozen=True, kw_only=True)
class QuotedMetrics:
    """Reconstruction quality as reported by others; numbers from different sources are not comparable.

    Args:
        data: Name of the data set.
        source: Publication that reports the numbers.
        psnr: PSNR in dB.
        ssim: SSIM.
        lpips: LPIPS.
        rfid: Fréchet Inception distance of reconstructions.
    """

    data: str
    source: str
    psnr: float | None = None
    ssim: float | None = None
    lpips: float | None = None
    rfid: float | None = None

    @property
    def values(self) -> dict[str, float]:
        """The reported numbers by the name of their metric."""
        known = {"PSNR": self.psnr, "SSIM": self.ssim, "LPIPS": self.lpips, "rFID": self.rfid}
        return {name: value for name, value in known.items() if value is not None}

    def find_faults(self) -> Iterator[tuple[str, str]]:
        """Yield the faults between keys."""
        if not self.values:
            yield "", "needs one or more of psnr, ssim, lpips and rfid"


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """The facts about one set of weights; `docs/hub.md` explains each key.

    `verified: false` marks weights whose hash or commit has not been checked.
    """

    source: RecordSource
    license: str
    layout: Annotated[str | None, LAYOUTS] = None
    summary: str = ""
    sha256: Sha256 | None = None
    verified: bool = True
    trained_on: str | None = None
    recipe: str | None = None
    latent_stats: LatentStats | None = None
    metrics: Metrics | None = None
    aliases: tuple[Alias, ...] = ()
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
        """Whether vaezoo can load the weights: they are not withdrawn, and their format cannot run code."""
        return not (self.removed_in or self.pickle_only or self.torchscript_only)

    @property
    def bundled(self) -> bool:
        """Whether the weights file lies beside the record."""
        return self.source.hub is None and self.source.url is None

    @property
    def pinned(self) -> bool:
        """Whether the record states the commit (if there is a repository) and the hash of the file."""
        return self.sha256 is not None and (self.source.hub is None or self.source.revision is not None)

    def find_faults(self) -> Iterator[tuple[str, str]]:
        """Yield the faults between keys."""
        source = self.source
        if self.layout is None and not self.torchscript_only:
            yield "", "missing layout; only TorchScript, which vaezoo does not read, needs none"
        if source.hub is None and (self.gated or self.torchscript_only or (self.pickle_only and source.url is None)):
            yield "source", "missing hub; only files of a repository can be gated or run code"
        if source.url and not self.pickle_only:
            yield "source.url", "only pickles may have a url, which is never downloaded; add pickle_only: true"
        if self.verified and not self.pinned:
            yield "", "needs sha256, and with a hub revision; if nobody has checked them, add verified: false"
