"""A Hub that accepts requests and never answers: one `HubError` after a short time."""

import contextlib
import socket
import threading
import time

import pytest
from huggingface_hub import constants, get_session
from support.representatives import first_of

import vaezoo
from vaezoo.weights.patience import limited_waiting


@pytest.fixture
def silent():
    """The address of a server that accepts connections and never answers."""
    with contextlib.ExitStack() as kept, socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    kept.enter_context(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("name", first_of(["hf-hub:alice/vae", f"hf-hub:alice/vae@{'0' * 40}"]))
def test_a_hub_that_never_answers_is_an_error_after_a_time(silent, name, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.3)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hooks, start = get_session().event_hooks, time.monotonic()
    with pytest.raises(vaezoo.HubError, match=rf"{silent}.* (does not answer like a Hub|has not answered)") as caught:
        vaezoo.create(name, pretrained=True, endpoint=silent, cache_dir=tmp_path)
    assert caught.value.kind == "server"
    assert time.monotonic() - start < 20
    assert get_session().event_hooks == hooks


def test_threads_that_wait_at_the_same_time_leave_nothing_in_the_client():
    hooks, first, second = get_session().event_hooks, limited_waiting(), limited_waiting()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert get_session().event_hooks != hooks
    second.__exit__(None, None, None)
    assert get_session().event_hooks == hooks
