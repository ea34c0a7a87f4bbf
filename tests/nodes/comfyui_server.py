"""A real ComfyUI on loopback with this pack in its custom_nodes, for the contract tests and the documentation's pictures."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDERS = ("custom_nodes", "input", "output", "temp", "user", "models")


class Server:
    """A running ComfyUI, driven over its API."""

    def __init__(self, url: str, base: Path):
        self.url, self.base = url, base

    @property
    def log(self) -> str:
        """What it has written so far."""
        return (self.base / "log.txt").read_text()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def raw(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return bytes(answer.read())

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def finish(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """Queue a prompt and wait for it; returns its entry in the history, whatever came of it."""
        job = self.post("/prompt", {"prompt": prompt})["prompt_id"]
        for _ in range(2400):
            history = self.get(f"/history/{job}")
            if job in history:
                return dict(history[job])
            time.sleep(0.25)
        raise AssertionError("the prompt did not finish")

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """Queue a prompt that has to succeed; returns the outputs by node."""
        entry = self.finish(prompt)
        assert entry["status"]["status_str"] == "success", entry["status"]
        return dict(entry["outputs"])


@contextmanager
def started(comfyui: str, python: str, base: Path, name: str, *more: str) -> Iterator[Server]:
    """Start a server over the empty folder `base`, the pack linked under `name`; stops it at the end.

    Args:
        comfyui: ComfyUI's folder.
        python: the Python that runs it.
        more: further arguments of its command line.
    """
    for folder in FOLDERS:
        (base / folder).mkdir()
    (base / "custom_nodes" / name).symlink_to(ROOT)
    shutil.copy(Path(__file__).parent / "given.py", base / "custom_nodes" / "raiha_given.py")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base)]
    arguments += ["--database-url", f"sqlite:///{base / 'comfyui.db'}", *more]
    with (base / "log.txt").open("w") as log:
        process = subprocess.Popen([python, *arguments], cwd=comfyui, stdout=log, stderr=subprocess.STDOUT)
        server = Server(f"http://127.0.0.1:{port}", base)
        try:
            _wait(server, process)
            yield server
        finally:
            process.terminate()
            process.wait(20)


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):  # a machine may have much else to do
        assert process.poll() is None, server.log[-2000:]
        try:
            server.get("/system_stats")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    raise AssertionError(f"ComfyUI did not start: {server.log[-2000:]}")
