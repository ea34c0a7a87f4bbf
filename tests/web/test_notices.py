"""What Harmonize Composite says after a run, in the real frontend and a real Chromium, in both renderers. Screenshots: artifacts/web/."""

from __future__ import annotations

from typing import Any

NODE = "app.graph._nodes.find(n => n.type === 'RaihaHarmonizeComposite')"


def strength(editor: Any, value: float) -> None:
    editor.page.evaluate(f"v => {{ {NODE}.widgets.find(w => w.name === 'strength').value = v }}", value)


def test_what_was_said_is_in_the_node_until_the_next_run(editor: Any) -> None:
    editor.example("1 harmonize with one node")
    said = editor.page.locator(".raiha-said")
    editor.run("RaihaHarmonizeComposite")
    assert said.count() == 0
    strength(editor, 0.05)  # the test host makes a notice of it
    editor.run("RaihaHarmonizeComposite")
    said.wait_for(state="visible")
    assert "Nothing was changed" in said.inner_text()
    saved = editor.page.evaluate(f"() => {NODE}.serialize().widgets_values")
    assert "raiha_said" not in editor.run("RaihaHarmonizeComposite") and not any("Nothing" in str(v) for v in saved)
    editor.shot("notice")
    strength(editor, 1.0)
    editor.run("RaihaHarmonizeComposite")
    said.wait_for(state="detached")
    assert not editor.errors
