"""A W&B server on the loopback that understands what vaelab sends, by the real SDK or by `wandb sync`.

It speaks GraphQL (`POST /graphql`), the file stream of history and summary, and uploads by PUT. It answers
what it does not know at once with GraphQL `errors`: the SDK retries a request that is not answered.
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
REFUSAL: Json = {"errors": [{"message": "user is not logged in"}], "data": None}
OWNER = {"id": ENTITY, "name": ENTITY}


@dataclass
class StubRun:
    """What the server has received of one run. Config and summary hold plain values."""

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

    @property
    def history(self) -> list[Json]:
        return [self.rows[line] for line in sorted(self.rows)]


class WandbStub:
    """The server: `with WandbStub() as stub`, set `stub.environ`, log, and look at `stub.runs`."""

    def __init__(self, *, refuse_key: bool = False) -> None:
        self.refuse_key = refuse_key  # answer 401 to everything
        self.runs: dict[str, StubRun] = {}
        self.unknown: list[str] = []  # requests that got an error for an answer
        self.projects: set[str] = set()  # beside those that runs have made
        self.views: list[Json] = []  # workspaces and reports
        self.lock = Lock()  # requests come in parallel
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port: requests are refused from now on."""
        self._server.shutdown()
        self._server.server_close()

    def freeze(self) -> None:
        """Keep the port open, and never answer again."""
        self._server.shutdown()

    def refuse_the_key(self) -> None:
        self.refuse_key = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables that send the SDK here."""
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
        return {"data": answer(request.get("variables") or {})} if answer else self.refuse(name)

    def refuse(self, what: str) -> Json:
        self.unknown.append(what)
        return {"errors": [{"message": f"the stub does not know {what}"}], "data": None}

    def stream(self, run_id: str, message: Json) -> Json:
        """Take a piece of the file stream: lines of "files", each with the number of its first line."""
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
        run_id, name = path.removeprefix("/upload/").split("/", maxsplit=1)
        self._run(run_id).files[unquote(name)] = body

    def _run(self, run_id: str) -> StubRun:
        return self.runs.setdefault(run_id, StubRun(run_id))

    # one answer an operation, in the shape that the SDK's query asks for

    def answer_ServerFeaturesQuery(self, _: Json) -> Json:
        return {"serverInfo": {"features": []}}

    def answer_Viewer(self, _: Json) -> Json:
        names = {"id": "viewer", "entity": ENTITY, "username": ENTITY, "email": "nobody@localhost"}
        return {"viewer": names | {"flags": "{}", "teams": {"edges": []}}}

    def answer_UpsertBucket(self, variables: Json) -> Json:
        run_id = variables.get("name") or variables["id"]  # the two are the same in this stub
        inserted, run = run_id not in self.runs, self._run(run_id)
        names = {"name": "displayName", "group": "groupName", "job_type": "jobType"}
        for key in ("name", "project", "group", "job_type", "sweep", "notes", "tags"):
            setattr(run, key, variables.get(names.get(key, key)) or getattr(run, key))
        if variables.get("config"):
            entries = json.loads(variables["config"])
            run.config = {key: entry["value"] for key, entry in entries.items() if key != "_wandb"}
        return {"upsertBucket": {"bucket": self._bucket(run), "inserted": inserted}}

    def _bucket(self, run: StubRun) -> Json:
        return {
            "id": run.id,
            "name": run.id,
            "displayName": run.name,
            "project": {"id": run.project, "name": run.project, "entity": OWNER},
            "description": None,
            "sweepName": None,
            "config": json.dumps({key: {"value": value} for key, value in run.config.items()}),
            "historyLineCount": len(run.rows),
        }

    def answer_RunResumeStatus(self, variables: Json) -> Json:
        run = self.runs.get(variables["name"])
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
        project = variables.get("project")
        return {"model": {"id": project, "name": project, "entity": OWNER, "bucket": bucket}}

    def answer_CreateRunFiles(self, variables: Json) -> Json:
        run_id = variables["run"]
        files = [
            {"name": name, "uploadUrl": f"{self.url}/upload/{run_id}/{quote(name)}"}
            for name in variables["files"]
        ]
        return {"createRunFiles": {"runID": run_id, "uploadHeaders": [], "files": files}}

    def answer_NotifyScriptableRunAlert(self, _: Json) -> Json:
        return {"notifyScriptableRunAlert": {"success": True}}

    # a logged table is an artifact too: one that is "COMMITTED" is not uploaded

    def answer_ArtifactType(self, _: Json) -> Json:
        return {"project": {"artifact": None}}

    def answer_CreateArtifact(self, _: Json) -> Json:
        sequence = {"id": "sequence", "latestArtifact": None}
        artifact = {"id": "artifact", "state": "COMMITTED", "artifactSequence": sequence}
        return {"createArtifact": {"artifact": artifact}}

    # dashboards

    def _known_projects(self) -> set[str]:
        return self.projects | {run.project for run in self.runs.values()}

    def answer_ProjectInternalId(self, variables: Json) -> Json:
        name = variables["projectName"]
        known = name in self._known_projects()
        return {"project": {"id": name, "internalId": f"internal-{name}"} if known else None}

    def answer_GetProjects(self, _: Json) -> Json:
        facts = {"__typename": "Project", "entityName": ENTITY, "createdAt": "2020-01-01"}
        facts |= {"isBenchmark": False, "user": None}
        edges = [{"node": facts | {"id": name, "name": name}} for name in sorted(self._known_projects())]
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        return {"models": {"pageInfo": page, "edges": edges}}

    def answer_upsertView(self, variables: Json) -> Json:
        view = {key: variables.get(key) for key in ("name", "type", "displayName", "description", "spec")}
        owner = {"id": "project", "name": variables["projectName"], "entityName": variables["entityName"]}
        view |= {"id": f"view{len(self.views)}", "project": owner, "updatedAt": None}
        self.views.append(view)
        return {"upsertView": {"view": view, "inserted": True}}

    answer_UpsertView2 = answer_upsertView  # the same mutation under the name that workspaces give it


def _handler(stub: WandbStub) -> type[BaseHTTPRequestHandler]:
    """The HTTP side. HTTP/1.0, the default: a connection kept alive would go on answering after `stop()`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(lambda path, _: {} if path == "/" else stub.refuse(f"GET {path}"))

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
            except Exception as error:  # a bug in the stub must not look like a bad network
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
