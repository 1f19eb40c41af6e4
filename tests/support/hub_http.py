"""Loopback HTTP for the fake Hugging Face Hub: ports, connections, requests and replies."""

import contextlib
import json
import socket
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Record = namedtuple("Record", "method path host authorized user_agent")  # path as quoted, no query; host: hub or cdn


class Reply(Exception):
    """A reply to return or raise. A `body` other than bytes is sent as JSON; X_Repo_Commit becomes X-Repo-Commit."""

    def __init__(self, status: int, body: Any = b"", **headers: str) -> None:
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


def refusal(status: int, message: str, code: str = "", **headers: str) -> Reply:
    """Return an error in the form the Hub uses."""
    told = message.encode("ascii", "backslashreplace").decode()
    return Reply(status, {"error": message}, X_Error_Message=told, X_Error_Code=code, **headers)


class Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self):
        url, hub, bearer = urlsplit(self.path), self.server.hub, self.headers.get("Authorization", "")
        agent = self.headers.get("User-Agent", "")
        hub.requests.append(Record(self.command, url.path, self.server.host, bool(bearer), agent))
        self.query, self.token, self.body = parse_qs(url.query), bearer.removeprefix("Bearer "), self._read()
        reply = hub.answer(self, url.path)
        self.send_response(reply.status)
        for name, value in [*reply.headers.items(), ("Content-Length", str(len(reply.body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body if self.command != "HEAD" else b"")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _read(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_):
        """Log nothing."""


class Listener(ThreadingHTTPServer):
    """A server with one thread per connection; stopping it also closes connections that are kept alive."""

    request_queue_size = 64
    block_on_close = False

    def __init__(self, hub, host):
        super().__init__(("127.0.0.1", 0), Connection)
        self.hub, self.host, self.connections = hub, host, []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def process_request(self, request, client_address):
        self.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        """Ignore clients that disconnected."""

    def stop(self):
        self.shutdown()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
