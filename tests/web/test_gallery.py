"""The gallery widget in the real frontend and a real Chromium, in both renderers. Screenshots: artifacts/web/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
WORKFLOW = json.loads((HERE.parents[1] / "example_workflows" / "2 with references and attention.json").read_text())
# The example asks for one photo; the strip is tried with four.
next(n for n in WORKFLOW["nodes"] if n["type"] == "RaihaRetrieveReferences")["widgets_values"][0] = 4
NODE = "app.graph._nodes.find(n => n.type === 'RaihaRetrieveReferences')"


def test_the_nodes_appear(editor: Any) -> None:
    editor.open(WORKFLOW)
    kinds = editor.page.evaluate("() => app.graph._nodes.map(n => [n.type, Boolean(n.constructor.nodeData)])")
    ours = [k for k in kinds if k[0].startswith("Raiha")]
    assert len(ours) == 4 and all(known for _, known in ours)
    assert editor.page.locator(".raiha-gallery").is_visible() and not editor.ids()
    assert "Run the workflow" in editor.page.locator(".raiha-status").inner_text()


def test_thumbnails_with_scores_after_a_run(editor: Any) -> None:
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


def test_pin_and_exclude_reach_the_prompt_and_survive(editor: Any) -> None:
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


def test_undo_takes_a_pick_back(editor: Any) -> None:
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


def test_undo_shows_what_it_undid(editor: Any) -> None:
    editor.open(WORKFLOW)
    editor.run()
    editor.page.mouse.click(20, 700)
    editor.page.wait_for_timeout(300)
    editor.cards.nth(1).click()
    editor.run()
    status = editor.page.locator(".raiha-status")
    assert editor.value() and "run again" not in status.inner_text()
    for _ in range(3):  # what the run found may be a step of its own
        if editor.value():
            editor.page.evaluate("() => app.extensionManager.command.execute('Comfy.Undo')")
            editor.page.wait_for_timeout(1200)
    assert editor.value() == {} and editor.page.locator(".raiha-pinned").count() == 0
    assert "run again" in status.inner_text(), "the last run had a pin, now there is none"
    editor.cards.nth(2).click()  # what is on the screen is the node that is in the graph
    assert editor.value() == {"pinned": [editor.ids()[2]]}


def test_many_photos_scroll_and_the_node_keeps_its_size(editor: Any) -> None:
    editor.open(WORKFLOW)
    editor.run()
    size = "() => document.querySelector('.raiha-gallery').getBoundingClientRect().height"
    before = editor.page.evaluate(size), editor.page.evaluate(f"() => {NODE}.size[1]")
    editor.page.evaluate(f"() => {{ {NODE}.widgets.find(w => w.name === 'top_k').value = 16 }}")
    editor.run()
    editor.page.wait_for_timeout(600)
    assert len(editor.ids()) == 16
    assert abs(editor.page.evaluate(size) - before[0]) < 2 and abs(editor.page.evaluate(f"() => {NODE}.size[1]") - before[1]) < 2
    scrolls = editor.page.evaluate("() => { const g = document.querySelector('.raiha-grid'); return [g.scrollHeight, g.clientHeight] }")
    assert scrolls[0] > scrolls[1] > 100
    editor.shot("many")


def test_switching_tabs_keeps_photos_and_picks(editor: Any) -> None:
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


def test_copy_and_paste_carry_the_picks(editor: Any) -> None:
    editor.open(WORKFLOW)
    editor.run()
    editor.cards.nth(1).click()
    values = editor.page.evaluate(
        f"""() => {{ const node = {NODE}; app.canvas.selectItems?.([node]) ?? app.canvas.selectNodes([node]);
            app.canvas.copyToClipboard(); app.canvas.pasteFromClipboard();
            return app.graph._nodes.filter(n => n.type === node.type).map(n => n.widgets.find(w => w.name === 'picks').value) }}"""
    )
    assert len(values) == 2 and values[0] == values[1] != "{}"


def test_keyboard(editor: Any) -> None:
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


def test_clear_keeps_the_keyboard_in_the_strip(editor: Any) -> None:
    editor.open(WORKFLOW)
    editor.run()
    editor.cards.nth(1).click()
    editor.page.locator(".raiha-clear").click()
    assert editor.value() == {}
    assert editor.page.evaluate("() => document.activeElement.className") == "raiha-card"


def test_the_large_picture_goes_with_the_pointer(editor: Any) -> None:
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
def test_help_pages_show_their_pictures(editor: Any, language: str) -> None:
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


def test_inside_a_subgraph(editor: Any) -> None:
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


def test_light_theme(editor: Any) -> None:
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


def test_nothing_broke_and_nothing_is_patched(editor: Any) -> None:
    assert not editor.errors
    assert editor.page.evaluate("() => window.LiteGraph.vueNodesMode") is editor.vue
    script = "".join(p.read_text() for p in (HERE.parents[1] / "web").glob("*.js"))
    assert ".prototype" not in script and "window." not in script.replace("window.inner", "")
