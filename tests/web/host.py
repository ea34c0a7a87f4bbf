"""A small test host: the real frontend package, this pack's web folder, and just enough endpoints for both to boot.

It is no ComfyUI: a prompt is recorded, and what Retrieve References would report is made up from the prompt's picks, so
that the tests can see what the widget sent. The nodes' definitions are those that a real ComfyUI served.
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
import uuid
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

ROOT = Path(__file__).parents[2]
MEDIA = ROOT / "example_workflows" / "media"
INFO = json.loads((Path(__file__).parent / "object_info.json").read_text())
PHOTOS = [(f"{i:x}{'0123456789abcde'}", f"photo {i}.jpg", max(0.0, 0.9 - i / 10), min(1.0, 0.3 + i / 10)) for i in (*range(1, 16), 0)]
INDEX = "0123456789ab"


class Host:
    """Runs in a thread of its own; `prompts` holds what was queued, `thumbnails` what was asked for."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.prompts: list[dict[str, Any]] = []
        self.thumbnails: list[str] = []
        self.url = ""
        self._settings: dict[str, Any] = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False, **settings}
        self._userdata: dict[str, bytes] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Host:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/ws", self._socket)
        app.router.add_post("/api/prompt", self._prompt)
        app.router.add_get("/api/raiha/thumbnail/{index}/{photo}/{size}", self._thumbnail)
        app.router.add_get("/api/view", self._view)
        app.router.add_get("/api/settings", self._get_settings)
        app.router.add_post("/api/settings", self._set)
        app.router.add_post("/api/settings/{key}", self._set)
        app.router.add_route("*", "/api/userdata/{file:.*}", self._file)
        app.router.add_get("/api/{path:.*}", self._api)
        app.router.add_get("/extensions/raiha/{file:.*}", self._script)
        app.router.add_get("/{file:.*}", self._frontend)
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        for socket in list(self._sockets):
            await socket.close()
        await self._runner.cleanup()

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.add(socket)
        sid = request.query.get("clientId") or uuid.uuid4().hex
        await socket.send_json({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": sid}})
        async for _ in socket:
            pass
        self._sockets.discard(socket)
        return socket

    async def _send(self, kind: str, **data: Any) -> None:
        for socket in list(self._sockets):
            await socket.send_json({"type": kind, "data": data})

    async def _prompt(self, request: web.Request) -> web.Response:
        prompt, job = (await request.json())["prompt"], uuid.uuid4().hex
        self.prompts.append(prompt)
        self._work = self._loop.create_task(self._execute(prompt, job))
        return _json({"prompt_id": job, "number": 1, "node_errors": {}})

    async def _execute(self, prompt: dict[str, Any], job: str) -> None:
        await asyncio.sleep(0.1)
        await self._send("execution_start", prompt_id=job)
        for node, value in prompt.items():
            await self._send("executing", node=node, display_node=node, prompt_id=job)
            if value["class_type"] == "RaihaRetrieveReferences":
                await self._send("executed", node=node, display_node=node, prompt_id=job, output=_found(value["inputs"]))
            if value["class_type"] == "RaihaHarmonizeComposite":
                said = ["Nothing was changed that could be seen: the strength is small."] if value["inputs"]["strength"] < 0.1 else []
                await self._send("executed", node=node, display_node=node, prompt_id=job, output={"text": said})
            if value["class_type"] == "RaihaPasteObject":
                await self._send("executed", node=node, display_node=node, prompt_id=job, output=_pasted(value["inputs"]))
        await self._send("execution_success", prompt_id=job)
        await self._send("executing", node=None, prompt_id=job)

    async def _thumbnail(self, request: web.Request) -> web.Response:
        photo = request.match_info["photo"]
        self.thumbnails.append(f"{request.match_info['index']}/{photo}/{request.match_info['size']}")
        if request.match_info["index"] != INDEX or photo not in {p[0] for p in PHOTOS}:
            return web.Response(status=404)
        file = io.BytesIO()
        Image.new("RGB", (128, 96), (12 * int(photo[0], 16), 120, 255 - 12 * int(photo[0], 16))).save(file, "JPEG")
        return web.Response(body=file.getvalue(), content_type="image/jpeg")

    async def _view(self, request: web.Request) -> web.StreamResponse:
        """The examples' pictures, whichever folder they are asked for from."""
        return await _static(MEDIA, request.query.get("filename", ""))

    async def _get_settings(self, _: web.Request) -> web.Response:
        return _json(self._settings)

    async def _script(self, request: web.Request) -> web.StreamResponse:
        return await _static(ROOT / "web", request.match_info["file"])

    async def _set(self, request: web.Request) -> web.Response:
        value = await request.json()
        self._settings.update({request.match_info["key"]: value} if "key" in request.match_info else value)
        return _json({})

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["file"]
        if request.method == "POST":
            self._userdata[name] = await request.read()
            return _json(name)
        return web.Response(body=self._userdata[name]) if name in self._userdata else web.Response(status=404)

    async def _api(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if path in _ANSWERS:
            return _json(_ANSWERS[path])
        if path.startswith("object_info/"):
            name = path.removeprefix("object_info/")
            return _json({name: INFO.get(name, {})})
        return web.Response(status=404)

    async def _frontend(self, request: web.Request) -> web.StreamResponse:
        import comfyui_frontend_package

        static = Path(comfyui_frontend_package.__file__).parent / "static"
        return await _static(static, request.match_info["file"] or "index.html")


def _found(inputs: dict[str, Any]) -> dict[str, Any]:
    picks = json.loads(inputs.get("picks") or "{}")
    pinned, excluded = picks.get("pinned", []), picks.get("excluded", [])
    order = sorted((p for p in PHOTOS if p[0] not in excluded), key=lambda p: p[0] not in pinned)
    photos = [
        {"id": i, "index": INDEX, "name": name, "content": content, "illumination": light, "width": 640, "height": 480}
        for i, name, content, light in order[: inputs["top_k"]]
    ]
    return {"raiha_references": photos, "raiha_notices": []}


def _pasted(inputs: dict[str, Any]) -> dict[str, Any]:
    """As Paste Object reports: pictures of another name than those loaded, and a number that comes over a link."""
    numbers = {name: inputs[name] if not isinstance(inputs[name], list) else 0.2 for name in ("x", "y", "scale", "rotation", "mirror")}
    pictures = {
        part: {"filename": f"raiha_example_{file}", "subfolder": "raiha", "type": "temp"}
        for part, file in (("background", "cup.jpg"), ("object", "cutout.png"))
    }
    return {"raiha_paste": [{**pictures, "placement": numbers}], "raiha_notices": ["A notice."]}


def _json(value: Any) -> web.Response:
    return web.json_response(value)


async def _static(folder: Path, name: str) -> web.StreamResponse:
    file = (folder / name).resolve()
    return web.FileResponse(file) if file.is_file() and file.is_relative_to(folder) else web.Response(status=404)


_ANSWERS: dict[str, Any] = {
    "object_info": INFO,
    "extensions": [f"/extensions/raiha/{p.name}" for p in sorted((ROOT / "web").glob("*.js"))],
    "system_stats": {
        "system": {
            "os": "posix", "comfyui_version": "0", "python_version": "3", "pytorch_version": "-", "embedded_python": False,
            "argv": [], "ram_total": 1, "ram_free": 1,
        },
        "devices": [],
    },
    "queue": {"queue_running": [], "queue_pending": []},
    "users": {"storage": "server", "migrated": True},
    "prompt": {"exec_info": {"queue_remaining": 0}},
    "jobs": {"jobs": [], "pagination": {"offset": 0, "limit": 1, "total": 0, "has_more": False}},
    **{name: {} for name in ("history", "features", "i18n", "workflow_templates", "global_subgraphs", "node_replacements")},
    **{name: [] for name in ("embeddings", "experiment/models", "userdata")},
}  # fmt: skip
