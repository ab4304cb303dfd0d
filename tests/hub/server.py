"""A small Hugging Face hub on this machine: what huggingface_hub, transformers and datasets ask of the real one."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.repositories import TOKENS, WRITER, Files, Repository, entry, etag, sha256

MEMBER_ONLY = "Access to {} is restricted. You must have access to it and be authenticated to access it."


class RefusalError(Exception):
    """A request that the hub answers with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Hub(ThreadingHTTPServer):
    """The repositories by kind and name, what has been asked, and what goes wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[str] = []  # method and path
        self.tokens: list[str] = []  # that they came with
        self.large: dict[str, bytes] = {}  # uploaded, by SHA-256
        self.members: tuple[str, ...] = ("hf_member",)
        self.cut: dict[str, list[int]] = {}  # file: after how many bytes each connection for it ends
        self.broken: dict[str, int] = {}  # part of a path: the status that it is answered with

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, kind: str, name: str, files: Files, private: bool = False, gated: bool = False) -> str:
        """Adds a repository, with these files on its branch main; returns the commit."""
        repository = self.repositories[kind, name] = Repository(private, gated)
        return repository.commit(files)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is no mistake of the tests."""


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    """One request; the addresses are those of huggingface.co."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is printed."""

    def _answer(self) -> None:
        hub, address = self.server, urlsplit(self.path)
        self.query = parse_qs(address.query)
        self.content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.requests.append(f"{self.command} {unquote(address.path)}")
        self.token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        hub.tokens.append(self.token)
        try:
            if status := next((status for part, status in hub.broken.items() if part in address.path), None):
                raise RefusalError(status, "", f"broken {status}")
            if self.token and self.token not in TOKENS:
                raise RefusalError(401, "", "Invalid credentials in Authorization header")
            for method, pattern, answer in ROUTES:
                if self.command in method and (found := re.fullmatch(pattern, address.path)):
                    return answer(self, **{key: value and unquote(value) for key, value in found.groupdict().items()})
            raise RefusalError(404, "", f"nothing at {address.path}")
        except RefusalError as error:
            headers = {"X-Error-Message": str(error)} | ({"X-Error-Code": error.code} if error.code else {})
            self._send_json({"error": str(error)}, error.status, headers)

    do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815, as the class calls them

    def _send(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None, most: int = -1) -> None:
        """Sends an answer; only its first `most` bytes, before the connection ends, if that is not negative."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content if most < 0 else content[:most])
        if most >= 0:
            self.wfile.flush()
            self.close_connection = True

    def _send_json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json"} | (headers or {}))

    def _repository(self, kind: str, name: str, files: bool = False) -> Repository:
        """The repository, if the token may see it; its files, if it may read them."""
        repository = self.server.repositories.get((kind, name))
        if repository is None or (repository.private and not self.token):
            # The real hub does not tell strangers whether a repository exists.
            message = "Repository not found" if self.token else "Invalid username or password."
            raise RefusalError(404 if self.token else 401, "RepoNotFound", message)
        if files and repository.gated and self.token not in self.server.members:
            raise RefusalError(403 if self.token else 401, "GatedRepo", MEMBER_ONLY.format(f"{kind} {name}"))
        return repository

    def _commit(self, repository: Repository, revision: str) -> str:
        if commit := repository.resolve(revision):
            return commit
        raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def info(self, kind: str, name: str, revision: str | None = None) -> None:
        repository = self._repository(kind, name)
        commit = self._commit(repository, revision or "main")
        siblings = [{"rfilename": path} for path in sorted(repository.commits[commit])]
        about = {"private": repository.private, "gated": "auto" if repository.gated else False, "tags": []}
        self._send_json({"_id": name, "id": name, "sha": commit, "siblings": siblings, **about})

    def auth_check(self, kind: str, name: str) -> None:
        self._repository(kind, name, files=True)
        self._send(b"")

    def tree(self, kind: str, name: str, revision: str, folder: str | None = None) -> None:
        repository = self._repository(kind, name)
        files = repository.commits[self._commit(repository, revision)]
        inside = f"{folder.strip('/')}/" if folder and folder.strip("/") else ""
        found = {p: entry(p, c) for p, c in files.items() if p.startswith(inside)}
        if inside and not found:
            raise RefusalError(404, "EntryNotFound", f"{folder} does not exist on {revision}")
        recursive = self.query.get("recursive") in (["true"], ["True"])
        for path in [*found] if not recursive else []:
            first, deeper, _ = path.removeprefix(inside).partition("/")
            if deeper:
                del found[path]
                found[inside + first] = {"type": "directory", "path": inside + first, "size": 0, "oid": "0" * 40}
        self._send_json(list(found.values()))

    def paths_info(self, kind: str, name: str, revision: str) -> None:
        repository = self._repository(kind, name)
        files = repository.commits[self._commit(repository, revision)]
        asked = [path.strip("/") for path in parse_qs(self.content.decode()).get("paths", [])]
        found = [entry(path, files[path]) for path in asked if path in files]
        folders = {p for p in asked if p not in files and any(file.startswith(f"{p}/") for file in files)}
        self._send_json(found + [{"type": "directory", "path": p, "size": 0, "oid": "0" * 40} for p in folders])

    def resolve(self, name: str, revision: str, file: str, prefix: str | None = None) -> None:
        kind = "dataset" if prefix else "model"
        repository = self._repository(kind, name, files=True)
        commit = self._commit(repository, revision)
        content = repository.commits[commit].get(file)
        about = {"X-Repo-Commit": commit}
        if content is None:
            # No RefusalError, since the answer names the commit.
            headers = about | {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            self._send_json({"error": "Entry not found"}, 404, headers)
        elif "lfs" in entry(file, content):
            # Large files are on another host, which gets no token.
            digest = etag(file, content)
            self.server.large[digest] = content
            about |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            place = self.server.url.replace("127.0.0.1", "localhost")
            self._send(b"", 302, about | {"Location": f"{place}/large/{digest}/{file}"})
        else:
            self._send_part(content, file, about | {"ETag": f'"{etag(file, content)}"'})

    def large(self, digest: str, file: str) -> None:
        self._send_part(self.server.large[digest], file, {"ETag": f'"{digest}"'})

    def _send_part(self, content: bytes, file: str, headers: dict[str, str]) -> None:
        """Sends a file, or the part of it that is asked for."""
        cuts = self.server.cut.get(file) if self.command == "GET" else None
        most = cuts.pop(0) if cuts else -1
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if part:
            first, last = int(part[1]), int(part[2] or len(content) - 1)
            place = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
            self._send(content[first : last + 1], 206, headers | place, most)
        else:
            self._send(content, 200, headers, most)

    def whoami(self) -> None:
        if not self.token:
            raise RefusalError(401, "", "Invalid username or password.")
        role = "write" if self.token == WRITER else "read"
        self._send_json(
            {"type": "user", "name": "org", "orgs": [], "auth": {"accessToken": {"role": role, "displayName": "test"}}}
        )

    def _writable(self) -> None:
        if not self.token:
            raise RefusalError(401, "", "Invalid username or password.")
        if self.token != WRITER:
            raise RefusalError(403, "", "You don't have the rights to create a model under the namespace org")

    def create(self) -> None:
        self._writable()
        asked = json.loads(self.content)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != "org":
            raise RefusalError(403, "", f"You don't have the rights to create {name}")
        known = ("model", name) in self.server.repositories
        if not known:
            self.server.add("model", name, {}, private=asked["visibility"] == "private")
        self._send_json({"url": f"{self.server.url}/{name}", "error": "exists"}, 409 if known else 200)

    def validate(self) -> None:
        self._send_json({"errors": [], "warnings": []})

    def preupload(self, kind: str, name: str, revision: str) -> None:
        self._writable()
        self._commit(self._repository(kind, name), revision)
        paths = [file["path"] for file in json.loads(self.content)["files"]]
        modes = {path: "lfs" if path.endswith(LARGE_UPLOADS) else "regular" for path in paths}
        files = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
        self._send_json({"files": files})

    def batch(self, name: str) -> None:
        self._writable()
        objects = json.loads(self.content)["objects"]
        place = f"{self.server.url}/upload"
        found = [{**one, "actions": {"upload": {"href": f"{place}/{one['oid']}"}}} for one in objects]
        self._send_json({"transfer": "basic", "objects": found})

    def upload(self, digest: str) -> None:
        if sha256(self.content) != digest:
            raise RefusalError(400, "", "the content has another SHA-256")
        self.server.large[digest] = self.content
        self._send(b"")

    def commit(self, kind: str, name: str, revision: str) -> None:
        self._writable()
        repository = self._repository(kind, name)
        files = dict(repository.head)
        for line in map(json.loads, self.content.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        commit = repository.commit(files, revision)
        self._send_json({"commitUrl": f"{self.server.url}/{name}/commit/{commit}", "commitOid": commit})


LARGE_UPLOADS = (".safetensors", ".bin", ".onnx")
NAME, REPO = r"(?P<name>[^/]+/[^/]+)", r"/api/(?P<kind>model|dataset)s/(?P<name>[^/]+/[^/]+)"
ROUTES: tuple[tuple[tuple[str, ...], str, Any], ...] = (
    (("GET",), REPO, Handler.info),
    (("GET",), rf"{REPO}/revision/(?P<revision>.+)", Handler.info),
    (("GET",), rf"{REPO}/auth-check", Handler.auth_check),
    (("GET",), rf"{REPO}/tree/(?P<revision>[^/]+)(?P<folder>/.*)?", Handler.tree),
    (("POST",), rf"{REPO}/paths-info/(?P<revision>.+)", Handler.paths_info),
    (("GET", "HEAD"), rf"/(?P<prefix>datasets/)?{NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", Handler.resolve),
    (("GET", "HEAD"), r"/large/(?P<digest>\w+)/(?P<file>.+)", Handler.large),
    (("GET",), "/api/whoami-v2", Handler.whoami),
    (("POST",), "/api/repos/create", Handler.create),
    (("POST",), "/api/validate-yaml", Handler.validate),
    (("POST",), rf"{REPO}/preupload/(?P<revision>.+)", Handler.preupload),
    (("POST",), rf"/{NAME}\.git/info/lfs/objects/batch", Handler.batch),
    (("PUT",), r"/upload/(?P<digest>\w+)", Handler.upload),
    (("POST",), rf"{REPO}/commit/(?P<revision>.+)", Handler.commit),
)
