"""Where the weights of a model were loaded from."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from vaezoo.io.files import sha256_of
from vaezoo.specs.names import parse_name


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of a `VAE` were loaded from.

    Args:
        name: The name that was asked for, such as `vae_f8_z4`, `hf-hub:org/name` or `file:weights.safetensors`.
        files: Paths of the weights on this machine; empty if none was loaded.
        network: Name of the network; `None` if it has none.
        tag: Tag of the weights among the records of the network; `None` for weights without a record.
        repo: Repository on the Hub; `None` for local weights.
        commit: Commit of that repository, 40 hexadecimal digits; `None` if the name was not resolved.
        known_sha256: SHA-256 of the one file, where it is on record or was computed to load it.
    """

    name: str
    files: tuple[Path, ...] = field(default=(), compare=False)
    network: str | None = None
    tag: str | None = None
    repo: str | None = None
    commit: str | None = None
    known_sha256: str | None = None

    @cached_property
    def sha256(self) -> str | None:
        """SHA-256 of the weights, of several files all with spaces between; `None` if no file was loaded.

        Where loading did not need it, it is computed from the files on first use.
        """
        return self.known_sha256 or " ".join(sha256_of(file) for file in self.files) or None

    @property
    def exact_name(self) -> str:
        """The name, for a repository on the Hub with the commit: it means the same after a branch has moved."""
        name = parse_name(self.name)
        return name._replace(revision=self.commit or name.revision).text if name.source == "hf-hub" else self.name

    def to_dict(self) -> dict[str, str]:
        """What is known, as plain data; computes the SHA-256 if need be."""
        known = {
            "name": self.name,
            "network": self.network,
            "tag": self.tag,
            "repo": self.repo,
            "commit": self.commit,
            "sha256": self.sha256,
        }
        return {key: value for key, value in known.items() if value is not None}

    def __str__(self) -> str:
        """One line for people, such as `vae_f8_z4 (vae_f8_z4.photos_v1, sha256 681cabb6d5a1)`."""
        record = f"{self.network}.{self.tag}"
        more = [record] if self.tag and record != self.name else []
        if self.repo and self.repo not in self.name:
            more.append(f"{self.repo}@{self.commit[:12]}" if self.commit else self.repo)
        if self.known_sha256:
            more.append(f"sha256 {self.known_sha256[:12]}")
        return f"{self.exact_name} ({', '.join(more)})" if more else self.exact_name
