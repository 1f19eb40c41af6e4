"""Model repositories in memory, as the stand-in for the Hugging Face Hub keeps them: commits, refs, LFS objects.

`hub_server.py` puts them on the network.
"""

import base64
import hashlib
import threading
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass, field

from support.hub_http import refusal

FIRST_FILES = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
Commit = namedtuple("Commit", "sha parent title files")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repo:
    """A repository: `refs` by full name ("refs/heads/main", "refs/tags/v1", "refs/pr/1"); not gated if no `allowed`."""

    id: str
    private: bool = False
    allowed: set[str] = field(default_factory=set)
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    def at(self, revision: str) -> Commit:
        """Return the commit of a branch, a tag, a full ref name or a commit id."""
        names = (f"refs/heads/{revision}", f"refs/tags/{revision}", revision)
        sha = next((self.refs[name] for name in names if name in self.refs), revision)
        if sha not in self.commits:
            raise refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def advance(self, ref: str, files: dict[str, bytes], title: str, parent: str | None) -> str:
        content = [(path, git_oid(data)) for path, data in sorted(files.items())]
        sha = hashlib.sha1(repr((self.id, len(self.commits), title, content)).encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent, title, files)
        self.refs[ref] = sha
        return sha


class HubStore:
    """Repositories by id, and the LFS objects they share; LFS keeps *.safetensors and all files over `lfs_bytes`."""

    def __init__(self, lfs_bytes: int) -> None:
        self.lfs_bytes = lfs_bytes
        self.repos: dict[str, Repo] = {}
        self._stored: dict[str, bytes] = {}  # LFS objects by sha256
        self._uploads: dict[str, bytes] = {}  # those not verified yet
        self._corrupted: set[tuple[str, str, str]] = set()
        self._lock = threading.RLock()

    def create(self, repo: str, *, private: bool = False) -> Repo:
        self.repos[repo] = made = Repo(repo, private)
        made.advance("refs/heads/main", FIRST_FILES, "initial commit", None)
        return made

    def commit(self, repo: str, files: Mapping[str, bytes], branch: str = "main", title: str = "seed") -> str:
        """Commit `files` to `branch`, creating the repository and the branch if needed, and return the commit id."""
        with self._lock:
            target = self.repos.get(repo) or self.create(repo)
            head = target.at(branch if f"refs/heads/{branch}" in target.refs else "main")
            self._stored |= {sha256(data): data for data in files.values()}
            return target.advance(f"refs/heads/{branch}", head.files | dict(files), title, head.sha)

    def gate(self, repo: str, *users: str) -> None:
        """Refuse downloads to everyone but the owner and `users`."""
        self.repos[repo].allowed = {self.repos[repo].owner, *users}

    def corrupt(self, repo: str, revision: str, path: str) -> None:
        """Serve this file with its last byte changed but its old size and sha256."""
        commit = self.repos[repo].at(revision)
        assert commit.files[path], f"{path} is empty"
        self._corrupted.add((repo, commit.sha, path))

    def _readable(self, name, user):
        repo = self.repos.get(name)
        if repo is None or (repo.private and user != repo.owner):
            raise refusal(404 if user else 401, "Repository not found", "RepoNotFound")
        return repo

    def _is_lfs(self, path, size):
        return size > self.lfs_bytes or (size > 0 and path.endswith(".safetensors"))

    def _entry(self, path, data):
        """Return a file's entry in listings; model info and tree use different names for the same fields."""
        entry = {"type": "file", "path": path, "rfilename": path, "size": len(data)}
        entry |= {"oid": git_oid(data), "blobId": git_oid(data)}
        if self._is_lfs(path, len(data)):
            entry["lfs"] = {"oid": sha256(data), "sha256": sha256(data), "size": len(data), "pointerSize": 134}
        return entry

    def _changed(self, files, changes):
        """Return `files` after the operations of a commit."""
        files = dict(files)
        for kind, value in ((change["key"], change["value"]) for change in changes):
            path = value["path"].rstrip("/")
            if kind == "file":
                files[path] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[path] = self._stored[value["oid"]]
            elif gone := [name for name in files if name == path or name.startswith(f"{path}/")]:
                files = {name: data for name, data in files.items() if name not in gone}
            else:
                raise refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        return files
