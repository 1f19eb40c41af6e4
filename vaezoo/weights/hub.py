"""The Hugging Face Hub: one client, one commit per load, one error type."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from huggingface_hub import HfApi, constants, errors
from huggingface_hub.utils import httpx

from vaezoo.errors import HubError
from vaezoo.version import __version__

PICKLES = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Hub:
    """How to reach a Hub.

    Args:
        endpoint: Base address; None is `HF_ENDPOINT` or huggingface.co.
        token: Access token; None is the one `hf auth login` saved, False is none.
        cache_dir: Where downloads are kept; None is huggingface_hub's own cache.
        local_files_only: Use the cache alone.
        force_download: Fetch again what is cached.
    """

    endpoint: str | None = None
    token: str | bool | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    force_download: bool = False

    @property
    def api(self) -> HfApi:
        """The client; every request of vaezoo goes through one of these."""
        return HfApi(endpoint=self.endpoint, token=self.token, library_name="vaezoo", library_version=__version__)

    def resolve(self, repo: str, revision: str | None = None) -> str:
        """The commit (40 hexadecimal digits) that a branch, tag or commit means now; a commit costs no request.

        Raises:
            HubError: If the repository or revision is not to be had.
        """
        with self.translating(repo, revision=revision):
            resolved = self.api.resolve_revision(
                repo, revision=revision, cache_dir=self.cache_dir, local_files_only=self.local_files_only
            )
            return str(resolved.resolved)

    def fetch(self, repo: str, file: str, commit: str) -> Path:
        """The path in the cache of one file at one commit, downloaded if need be.

        Raises:
            HubError: If the file is not to be had.
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
            return Path(path)

    @contextlib.contextmanager
    def translating(self, repo: str, revision: str | None = None, file: str | None = None) -> Iterator[None]:
        """Turn what the client raises inside the block into `HubError`."""
        try:
            yield
        except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:  # the first is one of the second
            self._no_access(error, repo)
        except errors.RevisionNotFoundError as error:
            text = f"{repo} has no revision {revision!r}{self._revisions(repo)}"
            raise HubError("revision", text) from error
        except errors.RemoteEntryNotFoundError as error:
            raise HubError("file", f"{repo} has no {file} at {revision}{self._files(repo, revision)}") from error
        except (errors.LocalEntryNotFoundError, errors.RevisionResolutionError) as error:
            self._unreachable(error, repo, file)
        except errors.OfflineModeIsEnabled as error:
            raise HubError("offline", f"{repo}: HF_HUB_OFFLINE is set; unset it for this") from error
        except errors.HFValidationError as error:
            text = f"{repo!r} is no repository id; it has the form organisation/name ({error})"
            raise HubError("refused", text) from error
        except errors.HfHubHTTPError as error:
            self._http(error, repo)
        except (httpx.TransportError, ConnectionError) as error:
            self._unreachable(error, repo, file)

    def _no_access(self, error: errors.HfHubHTTPError, repo: str) -> NoReturn:
        used = "with your token" if _sends_token(error) else "without a token"
        if isinstance(error, errors.GatedRepoError):
            text = (
                f"{repo} is gated and was asked for {used}: request access on its page "
                f"({self.api.endpoint}/{repo}), then `hf auth login` or token="
            )
            raise HubError("gated", text) from error
        text = f"{repo} does not exist on {self.api.endpoint} or is private (asked for {used})"
        raise HubError("missing", f"{text}: check the name, or `hf auth login` / token=") from error

    def _unreachable(self, error: Exception, repo: str, file: str | None) -> NoReturn:
        what = f"{repo}/{file}" if file else repo
        offline = self.local_files_only or constants.HF_HUB_OFFLINE
        if offline:
            why = "local_files_only is set" if self.local_files_only else "HF_HUB_OFFLINE is set"
            text = f"{what} is not in the cache and {why}: run `vaezoo download hf-hub:{repo}` once while online"
            raise HubError("offline", text) from error
        text = f"{what} is not in the cache and {self.api.endpoint} does not answer properly: {error}"
        hint = "; a Hub without Xet storage wants HF_HUB_DISABLE_XET=1" if "xet" in str(error).lower() else ""
        raise HubError("server", text + hint) from error

    def _http(self, error: errors.HfHubHTTPError, repo: str) -> NoReturn:
        status = error.response.status_code
        said = error.server_message or str(error).strip().splitlines()[0]
        if status in (409, 412):
            text = f"{repo} changed while this was sent ({said}): nothing was written; look at it, then push again"
            raise HubError("conflict", text) from error
        if status >= 500:
            raise HubError(
                "server", f"{self.api.endpoint} failed with {status} on {repo} ({said}): try later"
            ) from error
        text = f"{self.api.endpoint} refused with {status} on {repo}: {said}"
        raise HubError("refused", f"{text}; a token that may write is needed to publish") from error

    def _revisions(self, repo: str) -> str:
        """What revisions there are, for an error text; nothing where the Hub does not say."""
        try:
            refs = self.api.list_repo_refs(repo)
        except (errors.HfHubHTTPError, httpx.TransportError):
            return ""
        return f"; it has {', '.join(ref.name for ref in [*refs.branches, *refs.tags][:20])}"

    def _files(self, repo: str, revision: str | None) -> str:
        """What files there are, for an error text; nothing where the Hub does not say."""
        try:
            names = sorted(self.api.list_repo_files(repo, revision=revision))
        except (errors.HfHubHTTPError, httpx.TransportError):
            return ""
        pickles = [name for name in names if name.endswith(PICKLES)]
        hint = f"; {pickles[0]} is a pickle, which vaezoo does not open" if pickles else ""
        return f"; it has {', '.join(names[:20])}{hint}"


def _sends_token(error: errors.HfHubHTTPError) -> bool:
    return "authorization" in error.response.request.headers


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit id."""
    return bool(revision and re.fullmatch(r"[0-9a-f]{40}", revision))
