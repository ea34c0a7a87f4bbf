"""The gallery widget in the real frontend and a real Chromium, in both renderers. Screenshots: artifacts/web/."""

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
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip  # noqa: E501
WORKFLOW = json.loads((HERE.parents[1] / "example_workflows" / "2 with references and attention.json").read_text())
NODE = "app.graph._nodes.find(n => n.type === 'RaihaRetrieveReferences')"

if CHROMIUM is None:
    pytest.skip("Chromium is not installed (apt-get install chromium)", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
pytest.importorskip("comfyui_frontend_package", reason="ComfyUI's frontend is not installed (pip install comfyui-frontend-package)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Editor:
    """ComfyUI's editor in a page."""

    def __init__(self, page: Any, host: Any, vue: bool):
        self.page, self.host, self.vue, self.errors = page, host, vue, []
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

    def open(self, workflow: dict[str, Any]) -> None:
        self.page.evaluate("w => app.loadGraphData(w)", workflow)
        self.page.evaluate("() => { app.canvas.ds.scale = 1; app.canvas.ds.offset = [-250, 80]; app.canvas.setDirty(true, true) }")
        self.page.wait_for_timeout(500)

    def run(self) -> dict[str, Any]:
        """Queue the workflow; returns what the prompt says about Retrieve References."""
        done = """() => new Promise((resolve) => {
            app.api.addEventListener('execution_success', resolve, { once: true }); app.queuePrompt(0) })"""
        self.page.evaluate(done)
        self.page.wait_for_timeout(400)
        nodes = [n for n in self.host.prompts[-1].values() if n["class_type"] == "RaihaRetrieveReferences"]
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


def test_the_nodes_appear(editor: Editor) -> None:
    editor.open(WORKFLOW)
    kinds = editor.page.evaluate("() => app.graph._nodes.map(n => [n.type, Boolean(n.constructor.nodeData)])")
    ours = [k for k in kinds if k[0].startswith("Raiha")]
    assert len(ours) == 4 and all(known for _, known in ours)
    assert editor.page.locator(".raiha-gallery").is_visible() and not editor.ids()
    assert "Run the workflow" in editor.page.locator(".raiha-status").inner_text()


def test_thumbnails_with_scores_after_a_run(editor: Editor) -> None:
    editor.open(WORKFLOW)
    assert editor.run()["picks"] == "{}"
    assert len(editor.ids()) == 4
    text = editor.cards.first.inner_text()
    assert "content 80%" in text and "light 40%" in text
    loaded = "imgs => imgs.every(i => i.complete && i.naturalWidth > 0)"
    assert editor.page.eval_on_selector_all(".raiha-card img", loaded)
    editor.cards.first.hover()
    large = editor.page.locator(".raiha-large")
    assert large.is_visible() and "photo 1.jpg" in large.inner_text()
    box = large.bounding_box()
    assert box["x"] >= 0 and box["y"] >= 0 and box["y"] + box["height"] <= 950
    editor.shot("enlarged")
    editor.page.mouse.move(5, 500)
    assert editor.page.locator(".raiha-large").count() == 0


def test_pin_and_exclude_reach_the_prompt_and_survive(editor: Editor) -> None:
    editor.open(WORKFLOW)
    editor.run()
    first, second, third, _ = editor.ids()
    nodes = editor.page.evaluate("() => app.graph._nodes.length")
    editor.cards.nth(2).click()
    editor.cards.nth(0).click(modifiers=["Alt"])
    assert editor.page.evaluate("() => app.graph._nodes.length") == nodes, "Alt-click must not clone the node"
    assert editor.value() == {"pinned": [third], "excluded": [first]}
    assert "run again" in editor.page.locator(".raiha-status").inner_text()
    assert json.loads(editor.run()["picks"]) == {"pinned": [third], "excluded": [first]}
    assert editor.ids()[0] == third and editor.ids()[-1] == first, "excluded photos stay at hand, at the end"
    editor.shot("picked")

    # Saved and opened again, as after a reload with the server restarted: no outputs are left, the thumbnails are.
    saved = editor.page.evaluate("() => app.graph.serialize()")
    editor.reload()
    editor.open(saved)
    assert editor.ids()[0] == third and editor.value() == {"pinned": [third], "excluded": [first]}
    editor.page.wait_for_function("() => [...document.querySelectorAll('.raiha-card img')].every(i => i.naturalWidth > 0)")
    assert "pinned" in (editor.cards.first.get_attribute("aria-label") or "")
    editor.shot("reloaded")

    editor.page.locator(".raiha-clear").click()
    assert editor.value() == {}
    assert second in editor.ids()


def test_undo_takes_a_pick_back(editor: Editor) -> None:
    editor.open(WORKFLOW)
    editor.run()
    editor.page.mouse.click(20, 700)
    editor.page.wait_for_timeout(300)
    editor.cards.nth(1).click()
    pinned = editor.value()
    assert pinned.get("pinned")
    editor.page.evaluate("() => app.extensionManager.command.execute('Comfy.Undo')")
    editor.page.wait_for_timeout(700)
    assert editor.value() == {}
    editor.page.evaluate("() => app.extensionManager.command.execute('Comfy.Redo')")
    editor.page.wait_for_timeout(700)
    assert editor.value() == pinned


def test_switching_tabs_keeps_photos_and_picks(editor: Editor) -> None:
    editor.open(WORKFLOW)
    editor.run()
    editor.cards.nth(1).click()
    ids, picks = editor.ids(), editor.value()
    editor.page.evaluate("() => app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    editor.page.wait_for_timeout(700)
    assert not editor.page.evaluate(f"() => Boolean({NODE})")
    editor.page.evaluate("() => app.extensionManager.command.execute('Workspace.PreviousOpenedWorkflow')")
    editor.page.wait_for_timeout(1000)
    assert editor.ids() == ids and editor.value() == picks


def test_copy_and_paste_carry_the_picks(editor: Editor) -> None:
    editor.open(WORKFLOW)
    editor.run()
    editor.cards.nth(1).click()
    values = editor.page.evaluate(
        f"""() => {{ const node = {NODE}; app.canvas.selectItems?.([node]) ?? app.canvas.selectNodes([node]);
            app.canvas.copyToClipboard(); app.canvas.pasteFromClipboard();
            return app.graph._nodes.filter(n => n.type === node.type).map(n => n.widgets.find(w => w.name === 'picks').value) }}"""
    )
    assert len(values) == 2 and values[0] == values[1] != "{}"


def test_keyboard(editor: Editor) -> None:
    editor.open(WORKFLOW)
    editor.run()
    ids = editor.ids()
    nodes = editor.page.evaluate("() => app.graph._nodes.length")
    editor.cards.first.focus()
    editor.page.keyboard.press("ArrowRight")
    editor.page.keyboard.press("Enter")
    assert editor.value() == {"pinned": [ids[1]]}
    editor.page.keyboard.press("ArrowRight")
    editor.page.keyboard.press("Delete")
    assert editor.value() == {"pinned": [ids[1]], "excluded": [ids[2]]}
    assert editor.page.evaluate("() => app.graph._nodes.length") == nodes, "Delete must not delete the node"


def test_clear_keeps_the_keyboard_in_the_strip(editor: Editor) -> None:
    editor.open(WORKFLOW)
    editor.run()
    editor.cards.nth(1).click()
    editor.page.locator(".raiha-clear").click()
    assert editor.value() == {}
    assert editor.page.evaluate("() => document.activeElement.className") == "raiha-card"


def test_the_large_picture_goes_with_the_pointer(editor: Editor) -> None:
    editor.open(WORKFLOW)
    editor.run()
    editor.cards.nth(1).click()
    editor.page.mouse.move(5, 500)
    editor.run()  # draws the strip anew and gives the clicked photo its focus back
    assert editor.page.locator(".raiha-large").count() == 0
    editor.page.keyboard.press("ArrowRight")
    assert editor.page.locator(".raiha-large").count() == 1, "the keyboard enlarges, too"
    editor.page.keyboard.press("Escape")
    assert editor.page.locator(".raiha-large").count() == 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_help_pages_show_their_pictures(editor: Editor, language: str) -> None:
    editor.page.evaluate("l => app.extensionManager.setting.set('Comfy.Locale', l)", language)
    editor.open(WORKFLOW)
    editor.page.evaluate(f"() => {{ app.canvas.deselectAll(); app.canvas.selectItems([{NODE}]) }}")
    # A click by script: the toolbox over the node is drawn anew, now and then, while the language changes.
    editor.page.wait_for_function(
        """() => { if (!document.querySelector('.node-help-content')) document.querySelector('[data-testid=info-button]')?.click()
            return document.querySelector('.node-help-content h1') }""",
        polling=1000,
    )
    editor.page.wait_for_function("() => document.querySelector('.node-help-content img')?.naturalWidth > 100")
    title = editor.page.locator(".node-help-content h1").inner_text()
    assert title == {"en": "Retrieve References", "zh": "检索参考"}[language]
    editor.shot(f"help_{language}")
    editor.page.evaluate("() => app.extensionManager.setting.set('Comfy.Locale', 'en')")


def test_inside_a_subgraph(editor: Editor) -> None:
    editor.open(WORKFLOW)
    editor.run()
    editor.cards.nth(1).click()
    picks = editor.value()
    editor.page.evaluate(
        f"""() => {{ const {{ subgraph, node }} = app.graph.convertToSubgraph(new Set([{NODE}]))
            window.__sub = subgraph; window.__subnode = node }}"""
    )
    editor.page.wait_for_timeout(500)
    assert json.loads(editor.run()["picks"]) == picks
    editor.page.evaluate("() => app.canvas.openSubgraph ? app.canvas.openSubgraph(__sub, __subnode) : app.canvas.setGraph(__sub)")
    editor.page.wait_for_timeout(1000)
    inner = editor.page.evaluate(
        "() => __sub.nodes.filter(n => n.type === 'RaihaRetrieveReferences').map(n => n.properties.raiha_references?.[0]?.id)"
    )
    assert inner == picks["pinned"], "what the run found is shown inside the subgraph, the pinned photo first"
    editor.shot("subgraph")
    editor.page.evaluate("() => app.canvas.setGraph(app.rootGraph ?? app.graph)")


def test_light_theme(editor: Editor) -> None:
    editor.open(WORKFLOW)
    editor.run()
    editor.page.evaluate("() => app.extensionManager.setting.set('Comfy.ColorPalette', 'light')")
    editor.page.wait_for_timeout(600)
    colours = editor.page.eval_on_selector(
        ".raiha-gallery",
        "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor].map(c => c.match(/[\\d.]+/g).slice(0, 3).map(Number))",
    )
    brightness = [sum(c) / 3 for c in colours]
    assert abs(brightness[0] - brightness[1]) > 90, "text can be read on the background"
    editor.shot("light")
    editor.page.evaluate("() => app.extensionManager.setting.set('Comfy.ColorPalette', 'dark')")


def test_nothing_broke_and_nothing_is_patched(editor: Editor) -> None:
    assert not editor.errors
    assert editor.page.evaluate("() => window.LiteGraph.vueNodesMode") is editor.vue
    script = "".join(p.read_text() for p in (HERE.parents[1] / "web").glob("*.js"))
    assert ".prototype" not in script and "window." not in script.replace("window.inner", "")
