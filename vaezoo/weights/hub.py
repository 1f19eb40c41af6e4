"""The Hugging Face Hub: one client, one commit for each load, one error type."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vaezoo.errors import CheckpointError, HubError, InputError, VaezooError
from vaezoo.version import __version__
from vaezoo.weights.cached import check_cached
from vaezoo.weights.record_schema import COMMIT

if TYPE_CHECKING:  # importing huggingface_hub takes as long as loading a model from disk, which does not need it
    from huggingface_hub import HfApi


@dataclass(frozen=True)
class Hub:
    """How to reach the Hub.

    Args:
        endpoint: Base address; `None` means `HF_ENDPOINT` or huggingface.co.
        token: Access token; `None` means the one that `hf auth login` saved, `False` means none.
        cache_dir: Folder for downloads; `None` means the cache of huggingface_hub.
        local_files_only: Whether to use the cache only and make no request.
        force_download: Whether to download files again that are in the cache.
        lock: Lock file to obey; `None` means the one that `VAEZOO_LOCK` names, or `vaezoo.lock` if it exists.

    Raises:
        InputError: If `local_files_only` and `force_download` are both set.
    """

    endpoint: str | None = None
    token: str | bool | None = field(default=None, repr=False)
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    force_download: bool = False
    lock: str | Path | None = None

    def __post_init__(self) -> None:
        if isinstance(self.token, str) and not re.fullmatch(r"[!-~]+", self.token):
            raise InputError(
                "token= is empty or contains a space, line feed or other character that no token has: strip it"
            )
        if self.local_files_only and self.force_download:
            raise InputError("local_files_only=True and force_download=True exclude each other; set one of them")
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", os.path.expanduser(self.cache_dir))

    @property
    def api(self) -> "HfApi":
        """The client of huggingface_hub; all requests go through it."""
        from vaezoo.weights.patience import PatientApi

        return PatientApi(endpoint=self.endpoint, token=self.token, library_name="vaezoo", library_version=__version__)

    def resolve(self, repo: str, revision: str | None = None) -> str:
        """Resolve a branch, tag or commit to a commit, 40 hexadecimal digits; a commit needs no request.

        Args:
            repo: Repository, `organization/name`.
            revision: Branch, tag or commit; `None` means the main branch.

        Raises:
            HubError: If the repository or revision does not exist or is not accessible.
        """
        with self.translating(repo, revision=revision):
            resolved = self.api.resolve_revision(
                repo, revision=revision, cache_dir=self.cache_dir, local_files_only=self.local_files_only
            )
        if not COMMIT.fullmatch(resolved.resolved):  # from the cache; the client checks the answers of the Hub
            text = f"{repo}: the cache has {resolved.resolved!r:.60} as its commit: load it once while online"
            raise HubError("offline", text)
        return resolved.resolved

    def fetch(self, repo: str, file: str, commit: str) -> Path:
        """Download a file at a commit unless it is cached; returns its path in the cache.

        Raises:
            HubError: If the file does not exist, is not accessible, or is damaged in the cache.
            FileError: If the cache cannot be written.
        """
        with self.translating(repo, revision=commit, file=file):
            path = self.api.hf_hub_download(
                repo,
                file,
                revision=commit,
                cache_dir=self.cache_dir,
                local_files_only=self.local_files_only,
                force_download=self.force_download,
            )
        try:
            check_cached(Path(path))
        except CheckpointError as error:
            raise HubError("hash", f"{repo}: {error}") from error
        return Path(path)

    def find(self, repo: str, file: str, commit: str) -> Path | None:
        """Like `fetch`, but `None` if the repository has no such file, which is cached as well."""
        from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

        cached = try_to_load_from_cache(repo, file, cache_dir=self.cache_dir, revision=commit)
        if cached is _CACHED_NO_EXIST and not self.force_download:
            return None
        try:
            return self.fetch(repo, file, commit)
        except HubError as error:
            if error.kind != "file":
                raise
            return None

    @contextlib.contextmanager
    def translating(self, repo: str, revision: str | None = None, file: str | None = None) -> Iterator[None]:
        """Turn errors of the client in the block into `HubError`, or `FileError` if the cause is on this machine.

        Requests in the block that are not answered end after a time (`weights/patience.py`).
        """
        from vaezoo.weights.hub_errors import RAISED, HubErrors
        from vaezoo.weights.patience import limited_waiting

        try:
            with limited_waiting():
                yield
        except VaezooError:  # some are also OSErrors
            raise
        except RAISED as error:
            errors = HubErrors(self.api, self.cache_dir, self.local_files_only)
            raise errors.translated(error, repo, revision, file) from error
