"""The picture in Paste Object, in the real frontend and a real Chromium, in both renderers. Screenshots: artifacts/web/."""

from __future__ import annotations

from typing import Any

import pytest

NODE = "app.graph._nodes.find(n => n.type === 'RaihaPasteObject')"
EXAMPLE = "3 paste an object"
NAMES = ["x", "y", "scale", "rotation", "mirror"]


@pytest.fixture
def placed(editor: Any) -> Any:
    """The example, its pictures loaded, the node in view."""
    editor.example(EXAMPLE)
    editor.page.wait_for_function("() => document.querySelector('.raiha-object img')?.naturalWidth > 0")
    editor.page.wait_for_timeout(400)
    return editor


def value(editor: Any) -> dict[str, Any]:
    return dict(editor.page.evaluate(f"n => Object.fromEntries(n.map(n => [n, {NODE}.widgets.find(w => w.name === n).value]))", NAMES))


def boxes(editor: Any) -> tuple[dict[str, float], dict[str, float]]:
    return editor.page.locator(".raiha-view").bounding_box(), editor.page.locator(".raiha-object").bounding_box()


def drag(editor: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    editor.page.mouse.move(*start)
    editor.page.mouse.down()
    editor.page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    editor.page.mouse.move(*end)
    editor.page.mouse.up()
    editor.page.wait_for_timeout(200)


def test_the_loaded_pictures_are_there_before_a_run(placed: Any) -> None:
    addresses = placed.page.eval_on_selector_all(".raiha-view img", "all => all.map(i => i.src)")
    assert "raiha_example_scene.jpg" in addresses[0] and "raiha_example_cutout.png" in addresses[1]
    view, object = boxes(placed)
    assert abs(view["width"] / view["height"] - 640 / 427) < 0.02
    # 378 of 640 pixels wide, its middle at 0.639: as the node pastes it.
    assert abs(object["width"] / view["width"] - 378 / 640) < 0.02
    assert abs((object["x"] + object["width"] / 2 - view["x"]) / view["width"] - 0.639) < 0.02
    placed.shot("placer")


def test_dragging_moves_it(placed: Any) -> None:
    view, object = boxes(placed)
    x, y = object["x"] + object["width"] / 2, object["y"] + object["height"] / 3
    where = placed.page.evaluate(f"() => [...{NODE}.pos]")
    drag(placed, (x, y), (x - 0.25 * view["width"], y + 0.1 * view["height"]))
    now = value(placed)
    assert abs(now["x"] - (0.639 - 0.25)) < 0.01 and abs(now["y"] - (0.555 + 0.1)) < 0.01 and now["scale"] == 0.89
    assert placed.page.evaluate(f"() => [...{NODE}.pos]") == where, "the node stays where it is"
    _, after = boxes(placed)
    assert abs(after["x"] - object["x"] + 0.25 * view["width"]) < 3
    sent = placed.run("RaihaPasteObject")
    assert {name: sent[name] for name in NAMES} == now and "raiha_placer" not in sent
    placed.shot("placer_dragged")


def test_a_corner_resizes_it_about_its_middle(placed: Any) -> None:
    _, object = boxes(placed)
    corner = object["x"] + 1, object["y"] + 1
    middle = object["x"] + object["width"] / 2, object["y"] + object["height"] / 2
    drag(placed, corner, ((corner[0] + middle[0]) / 2, (corner[1] + middle[1]) / 2))
    now = value(placed)
    assert abs(now["scale"] - 0.445) < 0.01 and (now["x"], now["y"]) == (0.639, 0.555)
    _, after = boxes(placed)
    assert abs(after["width"] - object["width"] / 2) < 3 and abs(after["x"] + after["width"] / 2 - middle[0]) < 2


def test_undo_takes_a_move_back(placed: Any) -> None:
    view, object = boxes(placed)
    x, y = object["x"] + object["width"] / 2, object["y"] + object["height"] / 3
    drag(placed, (x, y), (x - 0.3 * view["width"], y))
    assert value(placed)["x"] < 0.4
    placed.page.evaluate("() => app.extensionManager.command.execute('Comfy.Undo')")
    placed.page.wait_for_timeout(900)
    assert value(placed)["x"] == 0.639
    _, after = boxes(placed)
    assert abs(after["x"] - object["x"]) < 3, "and is drawn there"


def test_keyboard(placed: Any) -> None:
    nodes = placed.page.evaluate("() => app.graph._nodes.length")
    placed.page.locator(".raiha-object").focus()
    for key in ("ArrowLeft", "Shift+ArrowDown", "+", "]", "m", "Delete"):
        placed.page.keyboard.press(key)
    assert value(placed) == {"x": 0.634, "y": 0.605, "scale": 0.908, "rotation": 1, "mirror": True}
    assert placed.page.evaluate("() => app.graph._nodes.length") == nodes, "Delete must not delete the node"
    assert "scaleX(-1)" in placed.page.locator(".raiha-object img").get_attribute("style")


def test_what_is_typed_is_drawn(placed: Any) -> None:
    view, object = boxes(placed)
    placed.page.evaluate(f"() => {{ const w = {NODE}.widgets.find(w => w.name === 'x'); w.value = 0.3; w.callback?.(0.3) }}")
    placed.page.wait_for_timeout(600)
    _, after = boxes(placed)
    assert abs(object["x"] - after["x"] - 0.339 * view["width"]) < 3


def test_after_a_run_it_shows_what_the_run_saw(placed: Any) -> None:
    placed.run("RaihaPasteObject")
    placed.page.wait_for_timeout(500)
    assert "type=temp" in placed.page.locator(".raiha-background").get_attribute("src")
    assert "A notice." in placed.page.locator(".raiha-place-status").inner_text()
    # Another file in Load Image: what the run saw is out of date.
    placed.page.evaluate(
        "() => { const n = app.graph._nodes.find(n => n.title === 'Scene'); n.widgets[0].value = 'raiha_example_cup.jpg' }"
    )
    placed.page.wait_for_timeout(700)
    assert "cup.jpg" in placed.page.locator(".raiha-background").get_attribute("src")


def test_a_linked_number_is_said_and_stays(placed: Any) -> None:
    placed.page.evaluate(
        f"""() => {{ const n = LiteGraph.createNode('PrimitiveFloat') ?? LiteGraph.createNode('PrimitiveNode'); app.graph.add(n)
            const at = {NODE}.inputs.findIndex(i => i.name === 'x'); n.connect(0, {NODE}, at) }}"""
    )
    placed.page.wait_for_timeout(700)
    assert "x" in placed.page.locator(".raiha-place-status").inner_text().split(": ")[1]
    view, object = boxes(placed)
    x, y = object["x"] + object["width"] / 2, object["y"] + object["height"] / 3
    drag(placed, (x, y), (x - 0.2 * view["width"], y + 0.1 * view["height"]))
    assert value(placed)["x"] == 0.639 and abs(value(placed)["y"] - 0.655) < 0.01


def test_it_stays_within_the_node(placed: Any) -> None:
    room = placed.page.locator(".raiha-placer").bounding_box()
    view, _ = boxes(placed)
    assert view["x"] >= room["x"] and view["x"] + view["width"] <= room["x"] + room["width"] + 1
    assert view["y"] >= room["y"] and view["y"] + view["height"] <= room["y"] + room["height"] + 1


def test_a_new_node_says_what_to_do(editor: Any) -> None:
    editor.page.evaluate(
        "() => { app.graph.clear(); const n = LiteGraph.createNode('RaihaPasteObject'); n.pos = [400, 60]; app.graph.add(n) }"
    )
    editor.page.wait_for_timeout(700)
    assert "Connect two Load Image" in editor.page.locator(".raiha-place-status").inner_text()
    assert not editor.page.locator(".raiha-view").is_visible() and not editor.errors
