"""A stand-in for the W&B server on the loopback, so that tests can run the real online path.

The SDK speaks three dialects to a server, and the stub keeps what it hears in all of them:

- GraphQL (`POST /graphql`): who am I, create this run, where do I upload these files;
- the file stream (`POST /files/<entity>/<project>/<run>/file_stream`): history, summary, the exit code;
- plain uploads (`PUT` to the addresses that GraphQL gave out): images, tables, artifact files.

What the stub does not know it answers at once with GraphQL `errors`. It must never drop a request:
the SDK takes a lost answer for a bad network and tries again for a very long time.
"""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

ENTITY = "loopback"
API_KEY = "0123456789" * 4  # W&B asks for 40 characters
OPERATION = re.compile(r"(?:query|mutation)\s+(\w+)")
Json = dict[str, Any]
REFUSAL: Json = {"errors": [{"message": "user is not logged in"}], "data": None}  # as the server says it


@dataclass
class StubArtifact:
    """One artifact version; `files` maps a path inside the artifact to the bytes uploaded for it."""

    name: str
    type: str
    aliases: list[str]
    metadata: Json
    manifest: Json = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    committed: bool = False


@dataclass
class StubRun:
    """What the server has been told of one run. Config and summary hold plain values."""

    id: str
    name: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    sweep: str = ""  # the id of the W&B Sweep that it is part of
    notes: str = ""
    tags: list[str] = field(default_factory=list)
    config: Json = field(default_factory=dict)
    rows: dict[int, Json] = field(default_factory=dict)  # by line number: a line may be sent twice
    summary: Json = field(default_factory=dict)
    exit_code: int | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    artifacts: list[StubArtifact] = field(default_factory=list)
    alerts: list[Json] = field(default_factory=list)

    @property
    def history(self) -> list[Json]:
        return [self.rows[line] for line in sorted(self.rows)]


class WandbStub:
    """The server: `with WandbStub() as stub`, set `stub.environ`, log, and look at `stub.runs`.

    `refuse_key=True` makes it answer 401 to everything. `stop()` ends it in the middle of things.
    """

    def __init__(self, *, refuse_key: bool = False) -> None:
        self.refuse_key = refuse_key
        self.runs: dict[str, StubRun] = {}
        self.unknown: list[str] = []  # requests that got an error for an answer
        self.lock = Lock()  # requests come in parallel
        self.projects: set[str] = set()  # beside those that runs have made
        self.views: list[Json] = []  # workspaces and reports
        self._artifacts: dict[str, StubArtifact] = {}  # by the id that the stub gave out
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port; requests are refused from now on. What was received stays readable."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables that send the SDK here. Where it keeps its local files is the caller's choice."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": API_KEY,
            "WANDB_MODE": "online",
            "WANDB_ERROR_REPORTING": "false",
        }

    def graphql(self, request: Json) -> Json:
        """Answer one GraphQL request. Its `operationName` may be empty, so the query text names it."""
        match = OPERATION.search(request["query"])
        name = match[1] if match else "(anonymous)"
        answer = getattr(self, f"answer_{name}", None)
        if answer is None:
            return self.refuse(name)
        return {"data": answer(request.get("variables") or {})}

    def refuse(self, what: str) -> Json:
        self.unknown.append(what)
        return {"errors": [{"message": f"the stub does not know {what}"}], "data": None}

    def stream(self, run_id: str, message: Json) -> Json:
        """Take in a piece of the file stream: lines of "files", each with the number of its first line."""
        run, files = self._run(run_id), message.get("files") or {}
        history = files.get("wandb-history.jsonl", {"offset": 0, "content": []})
        for number, line in enumerate(history["content"], start=history["offset"]):
            run.rows[number] = json.loads(line)
        for line in files.get("wandb-summary.json", {"content": []})["content"]:
            run.summary = json.loads(line)
        if message.get("complete"):
            run.exit_code = message["exitcode"]
        return {}

    def upload(self, path: str, body: bytes) -> None:
        """Keep an uploaded file; the path is one that `_address` made."""
        kind, owner, name = path.removeprefix("/upload/").split("/", maxsplit=2)
        if kind == "manifest":
            self._artifacts[owner].manifest = json.loads(body)
        else:
            record = self._run(owner) if kind == "run" else self._artifacts[owner]
            record.files[unquote(name)] = body

    def _address(self, kind: str, owner: str, name: str) -> str:
        return f"{self.url}/upload/{kind}/{owner}/{quote(name)}"

    def _run(self, run_id: str) -> StubRun:
        return self.runs.setdefault(run_id, StubRun(run_id))

    # ---- one answer an operation, in the shape that the SDK's query asks for

    def answer_ServerFeaturesQuery(self, _: Json) -> Json:
        return {"serverInfo": {"features": []}}

    def answer_Viewer(self, _: Json) -> Json:
        names = {"id": "viewer", "entity": ENTITY, "username": ENTITY, "email": "nobody@localhost"}
        return {"viewer": names | {"flags": "{}", "teams": {"edges": []}}}

    def answer_UpsertBucket(self, variables: Json) -> Json:
        run_id = variables.get("name") or variables["id"]  # the two are the same in this stub
        inserted, run = run_id not in self.runs, self._run(run_id)
        run.name = variables.get("displayName") or run.name
        run.project = variables.get("project") or run.project
        run.group = variables.get("groupName") or run.group
        run.job_type = variables.get("jobType") or run.job_type
        run.sweep = variables.get("sweep") or run.sweep
        run.notes = variables.get("notes") or run.notes
        run.tags = variables.get("tags") or run.tags
        if variables.get("config"):
            entries = json.loads(variables["config"])
            run.config = {key: entry["value"] for key, entry in entries.items() if key != "_wandb"}
        return {"upsertBucket": {"bucket": self._bucket(run), "inserted": inserted}}

    def _bucket(self, run: StubRun) -> Json:
        project = {"id": run.project, "name": run.project, "entity": {"id": ENTITY, "name": ENTITY}}
        return {"id": run.id, "name": run.id, "displayName": run.name, "project": project} | {
            "description": None,
            "sweepName": None,
            "config": json.dumps({key: {"value": value} for key, value in run.config.items()}),
            "historyLineCount": len(run.rows),
        }

    def answer_RunResumeStatus(self, variables: Json) -> Json:
        run = self.runs.get(variables["name"])
        model = {"id": variables.get("project"), "name": variables.get("project")}
        bucket = run and self._bucket(run) | {
            "tags": run.tags,
            "notes": "",
            "summaryMetrics": json.dumps(run.summary),
            "historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]),
            "eventsTail": "[]",
            "eventsLineCount": 0,
            "logLineCount": 0,
            "wandbConfig": json.dumps({"t": 1}),  # without a "t" the SDK counts steps from 0 again
        }
        return {"model": model | {"entity": {"id": ENTITY, "name": ENTITY}, "bucket": bucket}}

    def answer_CreateRunFiles(self, variables: Json) -> Json:
        run_id = variables["run"]
        addresses = {name: self._address("run", run_id, name) for name in variables["files"]}
        files = [{"name": name, "uploadUrl": address} for name, address in addresses.items()]
        return {"createRunFiles": {"runID": run_id, "uploadHeaders": [], "files": files}}

    def answer_NotifyScriptableRunAlert(self, variables: Json) -> Json:
        alert = {key: variables.get(key) for key in ("title", "text", "severity")}
        self._run(variables["runName"]).alerts.append(alert)
        return {"notifyScriptableRunAlert": {"success": True}}

    def answer_ArtifactType(self, _: Json) -> Json:
        return {"project": {"artifact": None}}  # no earlier version whose type this one must have

    def answer_CreateArtifact(self, variables: Json) -> Json:
        wanted, key = variables["input"], f"artifact-{len(self._artifacts)}"
        artifact = StubArtifact(
            name=wanted["artifactCollectionName"],
            type=wanted["artifactTypeName"],
            aliases=[alias["alias"] for alias in wanted.get("aliases") or []],
            metadata=json.loads(wanted.get("metadata") or "{}"),
        )
        self._artifacts[key] = artifact
        self._run(wanted["runName"]).artifacts.append(artifact)
        sequence = {"id": artifact.name, "latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": key, "state": "PENDING", "artifactSequence": sequence}}}

    def answer_CreateArtifactManifest(self, variables: Json) -> Json:
        key, name = variables["artifactID"], variables["name"]
        file = {"id": key, "uploadUrl": self._address("manifest", key, name), "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": key, "file": file}}}

    def answer_CreateArtifactFiles(self, variables: Json) -> Json:
        nodes = [
            {
                "storagePath": file["name"],
                "uploadUrl": self._address("artifact", file["artifactID"], file["name"]),
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": file["artifactID"]},
            }
            for file in variables["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    # ---- dashboards

    def _known_projects(self) -> set[str]:
        return self.projects | {run.project for run in self.runs.values()}

    def answer_ProjectInternalId(self, variables: Json) -> Json:
        name = variables["projectName"]
        known = name in self._known_projects()
        return {"project": {"id": name, "internalId": f"internal-{name}"} if known else None}

    def answer_GetProjects(self, _: Json) -> Json:
        facts = {
            "__typename": "Project",
            "entityName": ENTITY,
            "createdAt": "2020-01-01",
            "isBenchmark": False,
            "user": None,
        }
        nodes = [facts | {"id": name, "name": name} for name in sorted(self._known_projects())]
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        return {"models": {"pageInfo": page, "edges": [{"node": node} for node in nodes]}}

    def answer_upsertView(self, variables: Json) -> Json:
        view = {key: variables.get(key) for key in ("type", "displayName", "description", "spec")}
        owner = {"id": "project", "name": variables["projectName"], "entityName": variables["entityName"]}
        view |= {"id": f"view{len(self.views)}", "name": variables["name"], "project": owner}
        view["updatedAt"] = None
        self.views.append(view)
        return {"upsertView": {"view": view, "inserted": True}}

    answer_UpsertView2 = answer_upsertView  # the same mutation under the name that workspaces give it

    def answer_CommitArtifact(self, variables: Json) -> Json:
        key = variables["artifactID"]
        self._artifacts[key].committed = True
        return {"commitArtifact": {"artifact": {"id": key, "digest": ""}}}


def _handler(stub: WandbStub) -> type[BaseHTTPRequestHandler]:
    """The HTTP side: unpack the body, ask the stub, pack the answer.

    It keeps to HTTP/1.0, the default: a connection that is kept alive would go on answering after `stop()`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(lambda path, _: stub.refuse(f"GET {path}"))

        def do_POST(self) -> None:
            self._answer(self._post)

        def do_PUT(self) -> None:
            self._answer(stub.upload)

        def _post(self, path: str, body: bytes) -> Json:
            if path == "/graphql":
                return stub.graphql(json.loads(body))
            if path.endswith("/file_stream"):
                return stub.stream(path.split("/")[-2], json.loads(body))
            return stub.refuse(f"POST {path}")

        def _answer(self, work: Callable[[str, bytes], Json | None]) -> None:
            path = urlsplit(self.path).path
            try:
                body = self._body()
                with stub.lock:
                    reply = REFUSAL if stub.refuse_key else work(path, body) or {}
            except Exception as error:  # a bug in the stub must not look like a bad network either
                reply = stub.refuse(f"{self.command} {path} {error!r}")
            content = json.dumps(reply).encode()
            self.send_response(401 if stub.refuse_key else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b"".join(iter(self._chunk, b""))
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

        def _chunk(self) -> bytes:
            size = int(self.rfile.readline().split(b";")[0], base=16)
            chunk = self.rfile.read(size)
            self.rfile.readline()
            return chunk

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the tests' output clean."""

    return Handler
