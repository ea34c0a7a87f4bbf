"""Make every picture in the documentation that shows results, and the flicker table, with the weights as they are now.

    COMFYUI_DIR=/path/to/ComfyUI COMFYUI_PYTHON=/path/to/its/python python tests/web/make_pictures.py

Writes the examples' thumbnails, the help pages' pictures, the screenshots in docs/images and the table in docs/nodes.md.
Starts a ComfyUI of its own over a temporary folder; needs Chromium, and the packages of `pip install -e .[test]`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from drawn import THUMBNAIL, all_of_them, split, thumbnail  # noqa: E402

from raiha_core import video  # noqa: E402
from raiha_core.attention import render_attention  # noqa: E402
from raiha_core.harmonizer import Harmonizer  # noqa: E402
from raiha_core.image import fit_mask, read_image, read_mask  # noqa: E402
from raiha_core.inputs import as_mask, as_picture  # noqa: E402
from raiha_core.references import ReferenceIndex  # noqa: E402

EXAMPLES, HELP, IMAGES = ROOT / "example_workflows", ROOT / "web" / "docs", ROOT / "docs" / "images"
MEDIA, GALLERY = EXAMPLES / "media", ROOT / "raiha_core" / "demo_data" / "gallery"
SMOOTHING = 4.0

READY = "() => window.app?.graph && app.extensionManager && app.extensions?.some(e => e.name === 'raiha.gallery')"
RUN = """() => new Promise((resolve, reject) => {
    app.api.addEventListener('execution_success', resolve, { once: true })
    app.api.addEventListener('execution_error', (e) => reject(new Error(e.detail.exception_message)), { once: true })
    app.queuePrompt(0) })"""
FIT = """() => {
    const boxes = app.graph._nodes.map((n) => [n.pos[0], n.pos[1] - 30, n.pos[0] + n.size[0], n.pos[1] + n.size[1]])
    const [x0, y0] = [0, 1].map((k) => Math.min(...boxes.map((b) => b[k])))
    const [x1, y1] = [2, 3].map((k) => Math.max(...boxes.map((b) => b[k])))
    const scale = Math.min(1.1, (innerWidth - 110) / (x1 - x0), (innerHeight - 130) / (y1 - y0))
    app.canvas.ds.scale = scale
    app.canvas.ds.offset = [75 / scale - x0, 82 / scale - y0]
    app.canvas.setDirty(true, true) }"""
# So that the strip shows more than the one photo of seven that fits.
SHOW_ALL = """() => { for (const w of app.graph._nodes.flatMap((n) => n.widgets ?? []))
    if (w.name === 'minimum_score' || w.name === 'minimum_light') w.value = 0
    else if (w.name === 'top_k') w.value = 4 }"""
SETTINGS = "async (all) => { for (const [key, value] of Object.entries(all)) await app.extensionManager.setting.set(key, value) }"
PLACE = """(type) => {
    const n = app.graph._nodes.find((n) => n.type === type), d = app.canvas.ds, r = app.canvas.canvas.getBoundingClientRect()
    return { x: r.x + (n.pos[0] + d.offset[0]) * d.scale, y: r.y + (n.pos[1] - 30 + d.offset[1]) * d.scale,
             width: n.size[0] * d.scale, height: (n.size[1] + 30) * d.scale } }"""


def references(harmonizer: Harmonizer, folder: Path) -> None:
    """Thumbnail of example 2, and Visualize Attention's help picture."""
    composite = read_image(MEDIA / "raiha_example_astronaut.jpg")
    mask = fit_mask(read_mask(MEDIA / "raiha_example_astronaut_mask.png"), composite.size)
    with ReferenceIndex.build(GALLERY, folder / "pictures.index") as index:
        found = index.retrieve(composite.rgb_tensor(), torch.from_numpy(mask)[None, None])
        result = harmonizer.harmonize(composite, mask, found, attention=True)
        labels = [r.path.name for r in found]
        sheet = render_attention(result.attention[0], composite, mask, found, box=result.transform[0].box, labels=labels, side=480).convert(
            "RGB"
        )
    sheet.save(HELP / "RaihaVisualizeAttention" / "attention.jpg", quality=88)
    sheet.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    card = Image.new("RGB", THUMBNAIL, (250, 250, 248))
    card.paste(sheet, ((THUMBNAIL[0] - sheet.width) // 2, (THUMBNAIL[1] - sheet.height) // 2))
    card.save(EXAMPLES / "2 with references and attention.jpg", quality=90)


def clip(harmonizer: Harmonizer) -> str:
    """Thumbnail of example 4; returns the flicker table."""
    import av

    def frames(name: str) -> list[Image.Image]:
        with av.open(str(MEDIA / name)) as file:
            return [frame.to_image() for frame in file.decode(video=0)]

    pictures = [as_picture(f) for f in frames("raiha_example_clip.mp4")]
    masks = [as_mask(f.convert("L")) for f in frames("raiha_example_clip_mask.mp4")]
    box = video.common_box(masks, pictures[0].size, harmonizer.model.crops)
    placed = [harmonizer.predict(p, m, box=box)[0] for p, m in zip(pictures, masks, strict=True)]
    smooth = video.smooth(placed, SMOOTHING)
    middle = len(pictures) // 2
    after = harmonizer.apply(pictures[middle], masks[middle], smooth[middle]).pil()
    thumbnail(split(pictures[middle].pil(), after, masks[middle]), "4 video frames")
    held = [placed[0]] * len(placed)
    rows = [("of each frame, as predicted", placed), (f"smoothed, {SMOOTHING:g} frames", smooth), ("one transform", video.average(placed))]
    rows += [("that of one frame", held)]
    lines = ["| transforms | change per frame |", "| --- | --- |"]
    return "\n".join(lines + [f"| {name} | {video.flicker(transforms):.2f} |" for name, transforms in rows])


def write_table(table: str) -> None:
    """Put the flicker table between its marks in docs/nodes.md."""
    page = ROOT / "docs" / "nodes.md"
    new, count = re.subn(r"(?s)(<!-- flicker -->\n).*?(\n<!-- /flicker -->)", lambda m: m[1] + table + m[2], page.read_text())
    assert count == 1, "docs/nodes.md lost the marks around its flicker table"
    page.write_text(new)


class Screens:
    """Example 2 in a browser, after a run with one photo pinned and one excluded."""

    def __init__(self, page: Any, url: str):
        self.page = page
        page.set_default_timeout(400_000)  # a machine may have much else to do
        page.goto(url)
        page.wait_for_function(READY)

    def open(self, vue: bool) -> None:
        page = self.page
        page.evaluate(SETTINGS, {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False, "Comfy.VueNodes.Enabled": vue})
        page.reload()
        page.wait_for_function(READY)
        page.wait_for_timeout(1500)
        workflow = json.loads((EXAMPLES / "2 with references and attention.json").read_text())
        page.evaluate("w => app.loadGraphData(w, true, true, 'With references')", workflow)
        page.evaluate(SHOW_ALL)
        page.wait_for_timeout(1000)
        page.evaluate(RUN)
        page.evaluate(FIT)
        page.wait_for_timeout(2000)
        page.locator(".raiha-card").first.click()
        page.locator(".raiha-card").last.click(modifiers=["Alt"])
        page.evaluate(RUN)
        self.rest(8000)  # until the notes about finished jobs are gone

    def placer(self, file: Path, folder: Path) -> None:
        """Paste Object with the mouse on the object."""
        workflow = json.loads((EXAMPLES / "3 paste an object.json").read_text())
        self.page.evaluate("w => app.loadGraphData(w, true, true, 'Paste')", workflow)
        self.page.wait_for_timeout(1000)
        self.page.evaluate(RUN)
        self.page.evaluate(FIT)
        self.page.wait_for_timeout(2000)
        self.page.locator(".raiha-object").hover()
        self.page.wait_for_timeout(500)
        self.around([self.page.evaluate(PLACE, "RaihaPasteObject")], file, folder)

    def rest(self, milliseconds: int) -> None:
        self.page.mouse.move(600, 1145)  # over nothing that would show a tooltip
        self.page.wait_for_timeout(milliseconds)

    def whole(self, name: str, folder: Path) -> None:
        self.page.screenshot(path=folder / "screen.png")
        Image.open(folder / "screen.png").convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(
            IMAGES / f"{name}.png", optimize=True
        )

    def around(self, boxes: Sequence[dict[str, float]], file: Path, folder: Path, margin: int = 10) -> None:
        left, top = (max(0.0, min(b[k] for b in boxes) - margin) for k in ("x", "y"))
        right, bottom = (max(b[k] + b[s] for b in boxes) + margin for k, s in (("x", "width"), ("y", "height")))
        area = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        self.page.screenshot(path=folder / "part.png", clip=area)
        Image.open(folder / "part.png").convert("RGB").save(file, quality=90)


def screenshots(comfyui: str, python: str, folder: Path) -> None:
    """Both renderers, the strip with an enlarged photo, and Load Reference Index."""
    from playwright.sync_api import sync_playwright

    server, test = _module(ROOT / "tests/nodes/comfyui_server.py"), _module(Path(__file__).with_name("conftest.py"))
    base = folder / "comfyui"
    base.mkdir()
    with server.started(comfyui, python, base, "raiha") as running, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=test.CHROMIUM, args=test.FLAGS)
        screens = Screens(browser.new_page(viewport={"width": 1800, "height": 1150}), running.url)
        screens.open(vue=False)
        screens.whole("nodes-classic", folder)
        screens.open(vue=True)
        screens.whole("nodes-vue", folder)
        screens.placer(HELP / "RaihaPasteObject" / "placer.jpg", folder)
        screens.open(vue=True)
        place = screens.page.evaluate(PLACE, "RaihaLoadReferenceIndex")
        screens.around([place], HELP / "RaihaLoadReferenceIndex" / "node.jpg", folder)
        screens.page.locator(".raiha-card").nth(1).hover()
        screens.page.wait_for_timeout(2000)
        boxes = [screens.page.evaluate(PLACE, "RaihaRetrieveReferences"), screens.page.locator(".raiha-large").bounding_box()]
        screens.around(boxes, HELP / "RaihaRetrieveReferences" / "strip.jpg", folder)
        browser.close()


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"raiha_{file.stem}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """All of it."""
    comfyui = os.environ.get("COMFYUI_DIR", "")
    if not comfyui or (shutil.which("chromium") is None and shutil.which("chromium-browser") is None):
        sys.exit("Set COMFYUI_DIR to a ComfyUI's folder, and install Chromium.")
    began, harmonizer = time.monotonic(), Harmonizer()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        references(harmonizer, folder)
        all_of_them(harmonizer)
        table = clip(harmonizer)
        write_table(table)
        print(table, flush=True)
        screenshots(comfyui, os.environ.get("COMFYUI_PYTHON", sys.executable), folder)
    print(f"done in {time.monotonic() - began:.0f} s; look at them: git diff --stat", flush=True)


if __name__ == "__main__":
    main()
