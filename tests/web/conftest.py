"""ComfyUI's editor in a page: the real frontend and a real Chromium, in both renderers. Screenshots: artifacts/web/."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ARTIFACTS = HERE.parents[1] / "artifacts" / "web"
EXAMPLES = HERE.parents[1] / "example_workflows"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip  # noqa: E501
NODE = "app.graph._nodes.find(n => n.type === 'RaihaRetrieveReferences')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
    pytest.importorskip("comfyui_frontend_package", reason="ComfyUI's frontend is not installed (pip install comfyui-frontend-package)")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Editor:
    """ComfyUI's editor in a page."""

    def __init__(self, page: Any, host: Any, vue: bool):
        self.page, self.host, self.vue = page, host, vue
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(host.url)
        self.wait()

    def wait(self) -> None:
        self.page.wait_for_function(
            "() => window.app?.graph && window.app.extensionManager && window.app.extensions?.some(e => e.name === 'raiha.gallery')",
            timeout=90_000,
        )
        self.page.wait_for_timeout(500)

    def reload(self) -> None:
        self.page.reload()
        self.wait()

    def example(self, name: str) -> None:
        """Open an example workflow."""
        self.open(json.loads((EXAMPLES / f"{name}.json").read_text()))

    def open(self, workflow: dict[str, Any]) -> None:
        self.page.evaluate("w => app.loadGraphData(w)", workflow)
        self.page.evaluate("() => { app.canvas.ds.scale = 1; app.canvas.ds.offset = [-250, 80]; app.canvas.setDirty(true, true) }")
        self.page.wait_for_timeout(500)

    def run(self, kind: str = "RaihaRetrieveReferences") -> dict[str, Any]:
        """Queue the workflow; returns what the prompt says about a node of this kind."""
        done = """() => new Promise((resolve) => {
            app.api.addEventListener('execution_success', resolve, { once: true }); app.queuePrompt(0) })"""
        self.page.evaluate(done)
        self.page.wait_for_timeout(400)
        nodes = [n for n in self.host.prompts[-1].values() if n["class_type"] == kind]
        return dict(nodes[0]["inputs"])

    @property
    def cards(self) -> Any:
        return self.page.locator(".raiha-card")

    def ids(self) -> list[str]:
        return [str(i) for i in self.page.eval_on_selector_all(".raiha-card", "cards => cards.map(c => c.dataset.id)")]

    def value(self) -> dict[str, Any]:
        return dict(json.loads(self.page.evaluate(f"() => {NODE}.widgets.find(w => w.name === 'picks').value")))

    def shot(self, name: str) -> None:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{'vue' if self.vue else 'classic'}_{name}.png")


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "vue"])
def editor(request: pytest.FixtureRequest, browser: Any) -> Iterator[Editor]:
    spec = importlib.util.spec_from_file_location("raiha_test_host", HERE / "host.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["raiha_test_host"] = module
    spec.loader.exec_module(module)
    with module.Host({"Comfy.VueNodes.Enabled": request.param}) as host:
        page = browser.new_page(viewport={"width": 1400, "height": 950})
        yield Editor(page, host, request.param)
        page.close()
