"""A stand-in for the Hugging Face Hub on loopback: model repositories in memory, for the real client to talk to.

It answers what `huggingface_hub` asks with Xet off (`HF_HUB_DISABLE_XET=1`): who am I, creating repositories, commits,
pull requests, tags and branches, LFS uploads, model and revision info, refs, file listings, and downloads by HEAD and
GET. LFS files come from a second server, the "cdn", under another host name, since the client takes a redirect to the
Hub's own host for one within the Hub. A user owns the namespace of the same name.

    with HubServer({"hf_alice": "alice"}) as hub:
        hub.commit("alice/vae", {"config.json": b"{}"})
        HfApi(endpoint=hub.endpoint, token="hf_alice").model_info("alice/vae")
"""

import json
import re
import traceback
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from support.hub_http import Connection, Listener, Record, Reply, refusal
from support.hub_store import HubStore, git_oid, sha256

PARTS = {"repo": "[^/]+/[^/]+", "name": "[^/]+/[^/]+", "rev": "[^/]+", "path": ".+"}
ROUTES: list[tuple[list[str], re.Pattern[str], Callable[..., Any]]] = []


def route(methods: str, path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a handler. Names in braces become its arguments; `repo` is a `Repo` that the caller may read."""
    pattern = re.compile(re.sub(r"{(\w+)}", lambda part: f"(?P<{part[1]}>{PARTS[part[1]]})", path))
    return lambda handler: ROUTES.append((methods.split(), pattern, handler)) or handler


def require(user: str | None, owner: str | None = None) -> None:
    """Refuse anonymous callers, and anyone but `owner` if one is given."""
    if user is None:
        raise refusal(401, "Invalid username or password.")
    if owner not in (None, user):
        raise refusal(403, f"Forbidden: only {owner} may write here")


class HubServer(HubStore):
    """The Hub: `tokens` maps bearer tokens to users; `lfs_bytes` and `repos` as in `HubStore`.

    Attributes:
        endpoint: For `HfApi(endpoint=)`.
        requests: A `Record` of each request so far.
        errors: Tracebacks of failures of the server itself, which it answers with 501.
        before: If set, called as `before(server, method, path)` ahead of each answer. It may change the server, and
            a status, a `Reply` or a `refusal(...)` that it returns is answered instead.
    """

    def __init__(self, tokens: Mapping[str, str] | None = None, *, lfs_bytes: int = 1_000_000) -> None:
        super().__init__(lfs_bytes)
        self.tokens = dict(tokens or {})
        self.requests: list[Record] = []
        self.errors: list[str] = []
        self.before: Callable[[HubServer, str, str], int | Reply | None] | None = None
        self._listeners: list[Listener] = []

    def start(self) -> "HubServer":
        hub, cdn = self._listeners = [Listener(self, "hub"), Listener(self, "cdn")]
        self.endpoint, self.cdn = f"http://127.0.0.1:{hub.server_port}", f"http://localhost:{cdn.server_port}"
        return self

    def stop(self) -> None:
        """Stop listening and close every open connection."""
        while self._listeners:
            self._listeners.pop().stop()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, call: Connection, path: str) -> Reply:
        """Answer a request; an exception in a handler becomes an error reply."""
        try:
            if self.before and (reply := self.before(self, call.command, path)) is not None:
                return reply if isinstance(reply, Reply) else refusal(reply, "answered by the test")
            if call.token and call.token not in self.tokens:
                raise refusal(401, "Invalid credentials in Authorization header")
            with self._lock:
                return self._dispatch(call, path)
        except Reply as reply:
            return reply
        except Exception as error:  # noqa: BLE001 - a 501, because the client would retry a 500 for 23 seconds
            self.errors.append(traceback.format_exc())
            return refusal(501, f"the stand-in failed: {error!r}")

    def _dispatch(self, call, path):
        call.user = self.tokens.get(call.token)
        for methods, pattern, handler in ROUTES:
            if call.command in methods and (match := pattern.fullmatch(path)):
                parts = {name: unquote(part) for name, part in match.groupdict().items() if part}
                if "repo" in parts:
                    parts["repo"] = self._readable(parts["repo"], call.user)
                reply = handler(self, call, **parts)
                return reply if isinstance(reply, Reply) else Reply(200, reply)
        raise refusal(404, f"the stand-in does not answer {call.command} {path}")

    def _branch_to_commit(self, call, repo, rev):
        """Return the full name of branch `rev` if the caller may commit to it; anyone may open a pull request."""
        ref = rev if rev.startswith("refs/pr/") else f"refs/heads/{rev}"
        require(call.user, None if "create_pr" in call.query else repo.owner)
        if ref not in repo.refs:
            raise refusal(404, f"Invalid rev id: {rev}", "RevisionNotFound")
        return ref

    @route("GET POST", "/api/agent-harnesses|/api/validate-yaml")
    def _constant(self, call):
        return {"standardEnvVars": [], "harnesses": {}, "errors": [], "warnings": []}

    @route("GET", "/api/whoami-v2")
    def _whoami(self, call):
        require(call.user)
        return {"type": "user", "name": call.user, "orgs": [], "auth": {"type": "access_token"}}

    @route("POST", "/api/repos/create")
    def _create(self, call):
        asked = json.loads(call.body)
        owner = asked["organization"] or call.user
        require(call.user, owner)
        name, url = f"{owner}/{asked['name']}", f"{self.endpoint}/{owner}/{asked['name']}"
        if name in self.repos:
            return Reply(409, {"error": f"{name} exists already", "url": url})
        self.create(name, private=asked.get("visibility") == "private")
        return {"url": url}

    @route("POST", "/api/models/{repo}/preupload/{rev}")
    def _preupload(self, call, repo, rev):
        files, plans = repo.at(self._branch_to_commit(call, repo, rev)).files, []
        for path, size in ((file["path"], file["size"]) for file in json.loads(call.body)["files"]):
            mode, digest = ("lfs", sha256) if self._is_lfs(path, size) else ("regular", git_oid)
            known = {"oid": digest(files[path])} if path in files else {}
            plans.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **known})
        return {"files": plans}

    @route("POST", "/{repo}.git/info/lfs/objects/batch")
    def _batch(self, call, repo):
        require(call.user)
        objects = json.loads(call.body)["objects"]
        for wanted in (item for item in objects if item["oid"] not in self._stored):
            put, verify = f"{self.cdn}/uploads/{wanted['oid']}", f"{self.endpoint}/{repo.id}/lfs/verify"
            wanted["actions"] = {"upload": {"href": put}, "verify": {"href": verify}}
        return {"transfer": "basic", "objects": objects}

    @route("PUT", "/uploads/{path}")
    def _upload(self, call, path):
        self._uploads[path] = call.body
        return b""

    @route("POST", "/{repo}/lfs/verify")
    def _verify(self, call, repo):
        require(call.user)
        told = json.loads(call.body)
        data = self._uploads.pop(told["oid"], b"")
        if (sha256(data), len(data)) != (told["oid"], told["size"]):
            raise refusal(422, "the uploaded object is not what was announced")
        self._stored[told["oid"]] = data
        return {}

    @route("POST", "/api/models/{repo}/commit/{rev}")
    def _commit(self, call, repo, rev):
        ref = self._branch_to_commit(call, repo, rev)
        header, *changes = [json.loads(line) for line in call.body.splitlines()]
        head, parent = repo.at(ref), header["value"].get("parentCommit")
        number = 1 + sum(name.startswith("refs/pr/") for name in repo.refs)
        if "create_pr" in call.query:
            head, ref = repo.at(parent or ref), f"refs/pr/{number}"
        elif parent and not head.sha.startswith(parent):
            raise refusal(412, "A commit has happened since. Please refresh and try again.")
        sha = repo.advance(ref, self._changed(head.files, changes), header["value"]["summary"], head.sha)
        url = f"{self.endpoint}/{repo.id}"
        return {"commitUrl": f"{url}/commit/{sha}", "commitOid": sha, "pullRequestUrl": f"{url}/discussions/{number}"}

    @route("POST", "/api/models/{repo}/tag/{rev}")
    @route("POST", "/api/models/{repo}/branch/{path}")
    def _add_ref(self, call, repo, rev="main", path=""):
        """Create a tag at the revision in the URL, or a branch with the name in it."""
        require(call.user, repo.owner)
        asked = json.loads(call.body)
        ref = f"refs/heads/{path}" if path else f"refs/tags/{asked['tag']}"
        if ref in repo.refs:
            raise refusal(409, f"Reference {ref} already exists")
        repo.refs[ref] = repo.at(asked.get("startingPoint", rev)).sha
        return {"ref": ref}

    @route("GET", "/api/models/{repo}(/revision/{rev})?")
    def _info(self, call, repo, rev="main"):
        commit = repo.at(rev)
        info = {"id": repo.id, "author": repo.owner, "sha": commit.sha, "private": repo.private, "tags": []}
        info |= {"gated": "manual" if repo.allowed else False, "lastModified": "2024-01-01T00:00:00.000Z"}
        return info | {"siblings": [self._entry(path, data) for path, data in sorted(commit.files.items())]}

    @route("GET", "/api/models/{repo}/refs")
    def _refs(self, call, repo):
        found = {"heads": [], "tags": [], "pr": []}
        for ref, sha in repo.refs.items():
            _, kind, name = ref.split("/", 2)
            found[kind].append({"name": name, "ref": ref, "targetCommit": sha})
        return {"branches": found["heads"], "tags": found["tags"], "converts": [], "pullRequests": found["pr"]}

    @route("GET", "/api/models/{repo}/tree/{rev}")
    def _tree(self, call, repo, rev):
        return [self._entry(path, data) for path, data in sorted(repo.at(rev).files.items())]

    @route("GET HEAD", "/{repo}/resolve/{rev}/{path}")
    def _resolve(self, call, repo, rev, path):
        if repo.allowed and call.user not in repo.allowed:
            raise refusal(403 if call.user else 401, f"Access to model {repo.id} is restricted", "GatedRepo")
        sha, data = repo.at(rev).sha, repo.at(rev).files.get(path)
        if data is None:
            raise refusal(404, "Entry not found", "EntryNotFound", X_Repo_Commit=sha)
        reply = self._download(call, repo.id, sha, path)
        reply.headers |= {"X-Repo-Commit": sha, "ETag": f'"{git_oid(data)}"'}
        if self._is_lfs(path, len(data)):
            reply = Reply(302, X_Repo_Commit=sha, X_Linked_Etag=f'"{sha256(data)}"', X_Linked_Size=str(len(data)))
            reply.headers["Location"] = f"{self.cdn}/files/{repo.id}/{sha}/{quote(path)}"
        return reply

    @route("GET HEAD", "/files/{name}/{rev}/{path}")
    def _download(self, call, name, rev, path):
        data = self.repos[name].commits[rev].files[path]
        if (name, rev, path) in self._corrupted:
            data = data[:-1] + bytes([data[-1] ^ 1])
        return Reply(200, data)
