"""A user's own algorithm for the tests, on the standard library: ``algorithm.py train|serve``.

Hyperparameters tell ``train`` what to do, the request body tells ``serve``; what they can say is
read below. The model is a list of what was found in the container's folders.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])


def train() -> int:
    config = BASE / "input/config"
    hyperparameters = json.loads((config / "hyperparameters.json").read_text())
    # What one host does otherwise stands under its name.
    hyperparameters |= json.loads(hyperparameters.get(os.environ["SM_CURRENT_HOST"], "{}"))
    if "save_on_stop" in hyperparameters:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(save(hyperparameters)))
    for line in hyperparameters.get("print", "").split("|"):
        print(line, flush=True)
        if line == "pause":
            signal.pause()
    while "wait_first" in hyperparameters and not Path(hyperparameters["wait_first"]).exists():
        time.sleep(0.01)
    streams = {}
    for name in filter(None, hyperparameters.get("read_pipes", "").split(",")):
        streams[name] = read_pipe(name)
    if "checkpoint" in hyperparameters:
        (BASE / "checkpoints" / hyperparameters["checkpoint"]).write_text("saved")
    if "forget" in hyperparameters:
        (BASE / "checkpoints" / hyperparameters["forget"]).unlink()
    if "fail_once" in hyperparameters and not Path(hyperparameters["fail_once"]).exists():
        Path(hyperparameters["fail_once"]).touch()
        (BASE / "output/failure").write_text("InternalServerError: once")
        return 1
    print("waiting", flush=True)
    while "wait_for" in hyperparameters and not Path(hyperparameters["wait_for"]).exists():
        time.sleep(0.01)
    if "read_later" in hyperparameters:
        streams[hyperparameters["read_later"]] = read_pipe(hyperparameters["read_later"])
    if "x" in hyperparameters:
        print(f"loss={(float(hyperparameters['x']) - 0.25) ** 2};", flush=True)
    if "write_output" in hyperparameters:
        (BASE / "output/data/notes.txt").write_text(hyperparameters["write_output"])
    if "leave_running" in hyperparameters:
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        print(child.pid, flush=True)
    if "link" in hyperparameters:
        (BASE / "model/link").symlink_to("/etc/hostname")
    if "failure" in hyperparameters:
        (BASE / "output/failure").write_text(hyperparameters["failure"])
    return int(hyperparameters.get("exit", save(hyperparameters, streams)))


def read_pipe(name: str) -> str:
    """Read an epoch of a channel; with a number after the name only so many bytes."""
    name, _, part = name.partition(":")
    path = BASE / "input/data" / name
    while not path.exists():
        time.sleep(0.01)
    with path.open("rb") as file:
        return (file.read(int(part)) if part else file.read()).decode("latin-1")


def save(hyperparameters: dict[str, str], streams: dict[str, str] | None = None) -> int:
    channels = BASE / "input/data"
    found: dict[str, Any] = {
        "hyperparameters": hyperparameters,
        "environment": dict(os.environ),
        "files": {
            str(path.relative_to(channels)): path.read_text()
            for path in sorted(channels.rglob("*"))
            if path.is_file()
        },
        "streams": streams or {},
        "checkpoints": {path.name: path.read_text() for path in (BASE / "checkpoints").glob("*")},
        "config": {
            path.name: json.loads(path.read_text())
            for path in sorted((BASE / "input/config").iterdir())
        },
    }
    # What changes from job to job stays out of the model whose bytes are compared.
    if "small_model" in hyperparameters:
        found = found["files"]
    host = os.environ["SM_CURRENT_HOST"]
    is_alone = os.environ["SM_HOSTS"] == json.dumps([host])
    name = "found.json" if is_alone or "same_name" in hyperparameters else f"found-{host}.json"
    (BASE / "model" / name).write_text(json.dumps(found))
    return 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Header and body of an answer in one piece
    wbufsize = -1

    def do_GET(self) -> None:
        preferred = BASE / "model/preferred.json"
        if self.path == "/ping":
            self.answer(200, b"")
        elif self.path == "/execution-parameters" and preferred.exists():
            self.answer(200, preferred.read_bytes())
        else:
            self.answer(404, b"")

    def do_POST(self) -> None:
        body = self.read_body()
        kind = self.headers.get("Accept", "-")
        if b"bad" in body:
            self.answer(400, b"unable to evaluate payload provided")
        elif b"broken" in body:
            self.answer(500, b"it broke")
        elif b"die" in body:
            print("about to die", flush=True)
            os._exit(7)
        elif b"environment" in body:
            self.answer(200, json.dumps(dict(os.environ)).encode())
        elif kind in {"text/csv", "application/jsonlines"}:
            form = "<{}>\n" if kind == "text/csv" else '{{"got": {}}}\n'
            self.answer(200, "".join(map(form.format, body.decode().splitlines())).encode())
        else:
            if b"hold" in body:
                (BASE / "model/held").touch()
            while b"hold" in body and not (BASE / "model/go").exists():
                time.sleep(0.01)
            if "Content-Length" not in self.headers:
                kind += " chunked"
            self.answer(200, f"{kind} {len(body)} {body.hex()[:80]}".encode())

    def read_body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve() -> int:
    if (BASE / "model/no-start").exists():
        print("cannot start", flush=True)
        return 5
    address = (os.environ["MATINEE_BIND_HOST"], int(os.environ["SAGEMAKER_BIND_TO_PORT"]))
    ThreadingHTTPServer(address, Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit({"train": train, "serve": serve}[sys.argv[1]]())
