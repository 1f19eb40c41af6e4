"""Turns the errors of huggingface_hub into ours: what failed, on which repository, and the remedy."""

import re
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path

from huggingface_hub import HfApi, constants, errors
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the HTTP client that huggingface_hub uses

from vaezoo.errors import FileError, HubError, VaezooError
from vaezoo.weights.config_json import about_pickles
from vaezoo.weights.patience import ADDRESS_REMEDY
from vaezoo.weights.record_schema import COMMIT

_UNCACHED = (errors.LocalEntryNotFoundError, errors.RevisionResolutionError)
_WRAPPERS = (*_UNCACHED, RuntimeError, ValueError)  # in which the client wraps the actual error
_NOT_JSON = (JSONDecodeError, UnicodeDecodeError)  # kinds of ValueError
# texts of the ValueErrors that a malformed answer causes
_ODD_ANSWER = re.compile("improperly formatted|for integer string|[Mm]alformed|Invalid (HF URI|server response|etag)")
_MALFORMED = (TypeError, LookupError, AttributeError, AssertionError)  # the client uses answers without checking them
RAISED = (*_WRAPPERS, *_MALFORMED, OSError, httpx.HTTPError, httpx.InvalidURL)


@dataclass(frozen=True)
class HubErrors:
    """The errors of requests to one Hub.

    Args:
        api: The client that made the requests.
        cache_dir: Folder for downloads; `None` means the cache of huggingface_hub.
        local_files_only: Whether only the cache is used.
    """

    api: HfApi
    cache_dir: str | Path | None
    local_files_only: bool

    def translated(self, error: Exception, repo: str, revision: str | None, file: str | None) -> VaezooError:
        """The error of ours for one of `RAISED`: `HubError`, or `FileError` if the cause is on this machine."""
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
            case ValueError() | errors.LocalTokenNotFoundError() if not (
                isinstance(root, _NOT_JSON) or _ODD_ANSWER.search(str(root))
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
        except RAISED:
            return ""
        return f"; it has {_listing([ref.name for ref in [*refs.branches, *refs.tags]])}"

    def _files(self, repo: str, revision: str | None) -> str:
        """The existing files, for an error text; empty if the Hub does not list them."""
        try:
            names = sorted(self.api.list_repo_files(repo, revision=revision))
        except RAISED:
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
