"""The client of huggingface_hub, guarded against a Hub that never answers, or whose answers name no commit."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from huggingface_hub import HfApi, ModelInfo, constants, get_session

from vaezoo.errors import HubError
from vaezoo.weights.record_schema import COMMIT

ADDRESS_REMEDY = "check the address (HF_ENDPOINT, endpoint=) and the network, or try again later"
TIMEOUT = 120  # seconds; a commit of large files is answered late
_changing = threading.Lock()  # held while the hooks of the client, which all threads share, are changed
_ATTEMPTS = 3  # of requests that read, in units of their timeout; the client alone would try for six minutes


class PatientApi(HfApi):
    """The client, which by itself has no timeout for the facts of a repository and accepts any text as a commit."""

    def model_info(self, *arguments: Any, timeout: float | None = None, **options: Any) -> ModelInfo:
        """See `HfApi.model_info`; raises `HubError` if the answer names no commit."""
        info = super().model_info(*arguments, timeout=timeout or constants.HF_HUB_ETAG_TIMEOUT, **options)
        checked_commit(info.sha, self.endpoint)
        return info


def checked_commit(commit: object, endpoint: str) -> str:
    """Return the commit in the answer of a Hub; raise `HubError` if the answer has no valid one."""
    if not (isinstance(commit, str) and COMMIT.fullmatch(commit)):
        raise HubError("server", f"{endpoint} does not answer like a Hub (commit {commit!r:.60}): {ADDRESS_REMEDY}")
    return commit


@contextlib.contextmanager
def limited_waiting() -> Iterator[None]:
    """Limit the timeouts of requests in the block, and the time for which one is repeated.

    Raises:
        HubError: If a request is to be repeated after `_ATTEMPTS` timeouts without any answer.
    """
    client, first = get_session(), None

    def asked(request: Any) -> None:
        nonlocal first
        reads = request.method in ("GET", "HEAD")
        limit = max(constants.HF_HUB_ETAG_TIMEOUT, constants.HF_HUB_DOWNLOAD_TIMEOUT) if reads else TIMEOUT
        given = request.extensions.get("timeout", {})
        timeouts = {kind: min(given.get(kind) or limit, limit) for kind in ("connect", "read", "write", "pool")}
        request.extensions = {**request.extensions, "timeout": timeouts}
        now = time.monotonic()
        first = first or now
        if reads and now - first > (_ATTEMPTS - 1) * limit:
            text = f"{request.url.scheme}://{request.url.netloc.decode()} has not answered for {now - first:.0f} s"
            raise HubError("server", f"{text}: check the address (HF_ENDPOINT, endpoint=) and the network")

    def answered(_response: Any) -> None:
        nonlocal first
        first = None

    with _changing:
        hooks = client.event_hooks
        client.event_hooks = {"request": [*hooks["request"], asked], "response": [*hooks["response"], answered]}
    try:
        yield
    finally:
        with _changing:  # another thread may have begun or ended to wait in the meantime
            kept = {
                kind: [hook for hook in hooks if hook not in (asked, answered)]
                for kind, hooks in client.event_hooks.items()
            }
            client.event_hooks = kept
