"""The Hugging Face Hub: one client, one commit for each load, one error type."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from json import JSONDecodeError
from pathlib import Path

from huggingface_hub import _CACHED_NO_EXIST, HfApi, constants, errors, try_to_load_from_cache
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the HTTP client that huggingface_hub uses

from vaezoo.errors import CheckpointError, FileError, HubError, InputError, VaezooError
from vaezoo.version import __version__
from vaezoo.weights.cached import check_cached
from vaezoo.weights.config_json import about_pickles
from vaezoo.weights.patience import ADDRESS_REMEDY, PatientApi, limited_waiting
from vaezoo.weights.record_schema import COMMIT

_UNCACHED = (errors.LocalEntryNotFoundError, errors.RevisionResolutionError)
_WRAPPERS = (*_UNCACHED, RuntimeError, ValueError)  # in which the client wraps the actual error
_NOT_JSON = (JSONDecodeError, UnicodeDecodeError)  # kinds of ValueError
_MALFORMED = (TypeError, LookupError, AttributeError, AssertionError)  # the client uses answers without checking them
_RAISED = (*_WRAPPERS, *_MALFORMED, OSError, httpx.HTTPError, httpx.InvalidURL)


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
    def api(self) -> HfApi:
        """The client of huggingface_hub; all requests go through it."""
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
        try:
            with limited_waiting():
                yield
        except VaezooError:  # some are also OSErrors
            raise
        except _RAISED as error:
            raise self._translated(error, repo, revision, file) from error

    def _translated(self, error: Exception, repo: str, revision: str | None, file: str | None) -> VaezooError:
        what = f"{repo}/{file}" if file else repo
        if isinstance(error, _UNCACHED) and (self.local_files_only or constants.HF_HUB_OFFLINE):
            switch = "local_files_only" if self.local_files_only else "HF_HUB_OFFLINE"
            remedy = "load it, or `vaezoo download` it, once while online"
            text = f"{what} is not in the cache and {switch} is set: {remedy}{self._cached_commits(repo, file)}"
            return HubError("offline", text)
        root = _root(error)
        match root:
            case errors.RepositoryNotFoundError():  # includes gated repositories
                return self._no_access(root, repo)
            case errors.RevisionNotFoundError():
                hint = "; a folder is written after a #, as in @main#vae" if "/" in (revision or "") else ""
                return HubError("revision", f"{repo} has no revision {revision!r}{self._revisions(repo)}{hint}")
            case errors.RemoteEntryNotFoundError():
                return HubError("file", f"{repo} has no {file} at {revision}{self._files(repo, revision)}")
            case errors.HfHubHTTPError():
                return self._answered(root, repo)
            case errors.OfflineModeIsEnabled():
                return HubError("offline", f"{what}: HF_HUB_OFFLINE is set; unset it for this")
            case errors.HFValidationError():
                return HubError("refused", f"{repo!r} is not a repository, which is written organization/name ({root})")
            case ValueError() | errors.LocalTokenNotFoundError() if not isinstance(
                root, (JSONDecodeError, UnicodeDecodeError)
            ):
                return HubError("refused", f"{what}: {root}")
            case OSError(errno=int()) if not isinstance(root, ConnectionError):
                place, reason = self.cache_dir or constants.HF_HUB_CACHE, root.strerror or root
                return FileError(f"{what}: cannot be saved in {place} ({reason}); cache_dir= names another folder")
        reason = f"{'malformed answer, ' * isinstance(root, _MALFORMED)}{_first_line(str(root))}"
        text = f"{what}: {self.api.endpoint} does not answer like a Hub ({reason})"
        hint = "; a Hub without Xet storage needs HF_HUB_DISABLE_XET=1" if "xet" in str(root).lower() else ""
        hint += self._cached_commits(repo, file) if isinstance(error, errors.RevisionResolutionError) else ""
        return HubError("server", f"{text}: {ADDRESS_REMEDY}{hint}")

    def _no_access(self, error: errors.RepositoryNotFoundError, repo: str) -> HubError:
        used = "with your token" if _sends_token(error) else "without a token"
        if isinstance(error, errors.GatedRepoError):
            text = f"{repo} is gated and was asked for {used}: request access at {self.api.endpoint}/{repo}, then "
            return HubError("gated", f"{text}`hf auth login` or token=")
        text = f"{repo} does not exist on {self.api.endpoint} or is private (asked for {used})"
        return HubError("missing", f"{text}: check the name, or `hf auth login` / token=")

    def _answered(self, error: errors.HfHubHTTPError, repo: str) -> HubError:
        status = error.response.status_code
        message = _first_line(error.server_message or str(error))
        if status in (409, 412):
            text = f"{repo} changed while files were sent ({message}): nothing was written; check it, then push again"
            return HubError("conflict", text)
        if status == 429 or status >= 500:
            return HubError("server", f"{self.api.endpoint} answered {status} for {repo} ({message}): try again later")
        remedy = ": check the address (HF_ENDPOINT, endpoint=)" if status == 404 else ""
        if status in (401, 403):
            remedy = f": {'another' if _sends_token(error) else 'a'} token is needed (`hf auth login` or token=)"
        return HubError("refused", f"{self.api.endpoint} refused {repo} with {status}, {message}{remedy}")

    def _cached_commits(self, repo: str, file: str | None) -> str:
        """The commits in the cache, for the error text of a branch that is not; empty if there are none."""
        cache = Path(self.cache_dir or constants.HF_HUB_CACHE)
        folder = cache / repo_folder_name(repo_id=repo, repo_type="model") / "snapshots"
        entries = sorted(folder.iterdir()) if file is None and folder.is_dir() else []
        names = [f"hf-hub:{repo}@{entry.name}" for entry in entries if COMMIT.fullmatch(entry.name)]
        return f"; the cache has commits of it: {_listing(names)}" if names else ""

    def _revisions(self, repo: str) -> str:
        """The existing revisions, for an error text; empty if the Hub does not list them."""
        try:
            refs = self.api.list_repo_refs(repo)
        except _RAISED:
            return ""
        return f"; it has {_listing([ref.name for ref in [*refs.branches, *refs.tags]])}"

    def _files(self, repo: str, revision: str | None) -> str:
        """The existing files, for an error text; empty if the Hub does not list them."""
        try:
            names = sorted(self.api.list_repo_files(repo, revision=revision))
        except _RAISED:
            return ""
        return f"; it has {_listing(names)}{about_pickles(names)}"


def _root(error: BaseException) -> BaseException:
    """The actual error inside those in which the client wraps it."""
    while isinstance(error, _WRAPPERS) and not isinstance(error, errors.HfHubHTTPError) and error.__cause__:
        error = error.__cause__
    return error


def _sends_token(error: errors.HfHubHTTPError) -> bool:
    return "authorization" in error.response.request.headers


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]


def _listing(names: list[str]) -> str:
    return f"{', '.join(names[:20])}{f' and {len(names) - 20} more' if len(names) > 20 else ''}"
