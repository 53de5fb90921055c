"""A Hugging Face hub on loopback: repositories of a few small files, and the misfortunes of the real one."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from typing import Self

PARENT = "e" * 40  # the commit before every branch's
# The title by which transformers knows a pull request with converted weights.
CONVERSION_TITLE = "Adding `safetensors` variant of this model"
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>.+)/(?P<file>[^/]+)")


@dataclass
class Repository:
    """A repository of the hub.

    Attributes:
        trees: Files by name, by commit.
        refs: Commits by branch, tag or pull request.
        conversion: A pull request with converted weights that anybody may have opened, such as ``refs/pr/1``.
        refusal: Status and error code of every answer.
        is_gated: Whether files are refused though the repository is listed.
        dies_after: Bytes of the weights after which the connection breaks.
    """

    trees: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    conversion: str | None = None
    refusal: tuple[int, str] | None = None
    is_gated: bool = False
    dies_after: int | None = None

    @classmethod
    def of(cls, files: dict[str, bytes], **settings: Any) -> Self:
        """One commit on main, named by its content."""
        commit = commit_of(files)
        return cls({commit: files}, {"main": commit}, **settings)

    def move(self, files: dict[str, bytes]) -> str:
        """Let main be another commit; return it."""
        commit = commit_of(files)
        self.trees[commit] = files
        self.refs["main"] = commit
        return commit


def commit_of(files: dict[str, bytes]) -> str:
    """A commit that only these files have."""
    digest = hashlib.sha1(usedforsecurity=False)
    for name, content in sorted(files.items()):
        digest.update(name.encode() + content)
    return digest.hexdigest()


class Answer(NamedTuple):
    """Of the hub; ``dies_after`` so many bytes of the body the connection breaks."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    dies_after: int | None = None


@dataclass
class Hub:
    """Serves ``repositories`` by their ids; ``requests`` holds what it was asked."""

    repositories: dict[str, Repository]
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.reply(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def files_fetched(self, repo: str) -> list[str]:
        """The files of ``repo`` whose content was sent, in order."""
        start = f"GET /{repo}/resolve/"
        return [request.rpartition("/")[2] for request in self.requests if request.startswith(start)]

    def reply(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = unquote(urlsplit(request.path).path)
        self.requests.append(f"{request.command} {path}")
        answer = self._answer(path)
        request.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "HEAD":
            return
        request.wfile.write(answer.body[: answer.dies_after])
        if answer.dies_after is not None:
            request.close_connection = True

    def _answer(self, path: str) -> Answer:
        if found := _RESOLVE.fullmatch(path):
            repository = self.repositories.get(found["repo"])
            return _file(repository, found["revision"], found["file"])
        for repo, repository in self.repositories.items():
            api = f"/api/models/{repo}"
            if path == api or path.startswith(f"{api}/"):
                return _api(repo, repository, path.removeprefix(api))
        return Answer(401, {"X-Error-Code": "RepoNotFound"})


def _file(repository: Repository | None, revision: str, name: str) -> Answer:
    if repository is None:
        return Answer(401, {"X-Error-Code": "RepoNotFound"})
    if repository.refusal:
        return _refuse(*repository.refusal)
    if repository.is_gated:
        return _refuse(403, "GatedRepo")
    commit = repository.refs.get(revision, revision)
    if commit not in repository.trees:
        return _refuse(404, "RevisionNotFound")
    content = repository.trees[commit].get(name)
    if content is None:
        return Answer(404, {"X-Repo-Commit": commit, "X-Error-Code": "EntryNotFound"})
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    dies_after = repository.dies_after if name.endswith(".safetensors") else None
    return Answer(200, {"X-Repo-Commit": commit, "ETag": etag}, content, dies_after)


def _api(repo: str, repository: Repository, rest: str) -> Answer:
    if repository.refusal:
        return _refuse(*repository.refusal)
    if rest == "/discussions":
        return _json({"discussions": _discussions(repo, repository), "count": 1, "start": 0})
    kind, _, revision = rest.removeprefix("/").partition("/")
    commit = repository.refs.get(revision or "main", revision)
    if commit not in repository.trees:
        return _refuse(404, "RevisionNotFound")
    if kind == "commits":
        chain = [commit, PARENT] if revision == "main" else [commit, repository.refs["main"], PARENT]
        empty = {"title": "", "message": "", "authors": [], "date": "2024-01-01T00:00:00.000Z"}
        return _json([{"id": one, **empty} for one in chain])
    if kind == "tree":
        return _json([_entry(name, content) for name, content in repository.trees[commit].items()])
    siblings = [{"rfilename": name} for name in repository.trees[commit]]
    return _json({"id": repo, "sha": commit, "private": False, "siblings": siblings})


def _entry(name: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha256(content).hexdigest()}


def _discussions(repo: str, repository: Repository) -> list[dict[str, Any]]:
    if repository.conversion is None:
        return []
    request = {"num": int(repository.conversion.rpartition("/")[2]), "title": CONVERSION_TITLE, "status": "open"}
    author = {"author": {"name": "mallory"}, "repo": {"name": repo, "type": "model"}}
    return [{**request, **author, "isPullRequest": True, "createdAt": "2024-01-01T00:00:00.000Z"}]


def _json(content: Any) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(content).encode())


def _refuse(status: int, code: str) -> Answer:
    return Answer(status, {"X-Error-Code": code})
