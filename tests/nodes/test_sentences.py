"""What the core says reaches people who have nodes and no command line: every sentence tells what can be done in ComfyUI."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).parents[2] / "raiha_core"
EXAMPLE = "photos: example photos"
COMMAND = re.compile(r"`?raiha [a-z]|--[a-z]|raiha\[")
ELSEWHERE = {"cli", "training", "evaluation", "video", "convert.py", "cluster.py", "__main__.py"}
"""Rooms that no node enters (of video, those of files)."""
NOT_SAID = ("give a mask of the same size, or allow scaling it", "chooses another.")
"""Of masks and files that nodes have as tensors."""
Batch = tuple[torch.Tensor, torch.Tensor]


def _sentences() -> Iterator[str]:
    """Every text of the core's that names a command or one of its options, its values as X."""
    for file in sorted(ROOT.rglob("*.py")):
        if ELSEWHERE & set(file.relative_to(ROOT).parts):
            continue
        tree = ast.parse(file.read_text())
        parts = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
        comments = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) in parts | comments:
                continue
            text = ""
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(v.value) if isinstance(v, ast.Constant) else "X" for v in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value.replace("{}", "X")
            if COMMAND.search(text) and not any(known in text for known in NOT_SAID):
                yield text


def test_no_sentence_sends_anybody_to_a_command_line(pack: SimpleNamespace) -> None:
    sentences, told = pack.module("nodes.sentences"), list(_sentences())
    assert len(told) > 15, "the core's own sentences"
    for text in told:
        said = sentences.in_comfyui(text)
        assert not COMMAND.search(said) and "`" not in said, (text, said)
        assert str(sentences.here(pack.error(text))) == said[:1].upper() + said[1:].removesuffix(".") + "."
    assert str(sentences.here(pack.error("The mask is empty; paint it."))) == "The mask is empty; paint it."


@pytest.mark.parametrize(
    ("core", "there"),
    [
        (
            "the gallery /p is not there: connect its drive, say where it lies now (`--gallery`), or build the index again with the folder "
            "where it lies now; its photos were skipped",
            "the gallery /p is not there: connect its drive, or, in Load Reference Index, choose the folder where it lies now; its photos "
            "were skipped",
        ),
        (
            "7 of 7 photos in /p are gone: connect its drive, or, if they were deleted, say so with --allow-empty (the node's switch "
            "'allow empty')",
            "7 of 7 photos in /p are gone: connect its drive, or, if they were deleted, switch allow_empty on in Load Reference Index",
        ),
        (
            "2 pictures are noise: in the index, but offered only when pinned",
            "2 pictures are noise: in the index, but not offered; to use one all the same, connect it to reference_images",
        ),
        (
            "the index keeps its vectors in Milvus, which needs pymilvus: pip install 'raiha[milvus]'",
            "the index keeps its vectors in Milvus, which needs pymilvus: install that package into ComfyUI's Python",
        ),
        (
            "The encoder dinov2:x needs timm: install it with `pip install timm`.",
            "The encoder dinov2:x needs timm: install it into ComfyUI's Python, with pip install timm.",
        ),
        (
            "This rhnet needs the content encoder dinov2:x, which is not on this machine; store it in the model with"
            " `raiha convert --dinov2 FILE`, or with `--fetch-dinov2`, which downloads it.",
            "This rhnet needs the content encoder dinov2:x, which is not on this machine; choose another model, or a checkpoint that "
            "holds its encoder.",
        ),
        (
            "links that lead out of the gallery or nowhere; --follow-links takes them in",
            "links that lead out of the gallery or nowhere; put what they lead to into models/raiha/galleries",
        ),
    ],
)
def test_what_can_be_done_is_named(pack: SimpleNamespace, core: str, there: str) -> None:
    assert pack.module("nodes.sentences").in_comfyui(core) == there


def _gallery(pack: SimpleNamespace, name: str) -> Path:
    folder: Path = pack.base / "models/raiha/galleries" / name
    shutil.copytree(pack.module("nodes.folders").gallery_path(EXAMPLE), folder)
    return folder


def test_notices_in_the_strip_know_no_command(pack: SimpleNamespace, batch: Batch) -> None:
    gallery = _gallery(pack, "fading")
    index = pack.LoadReferenceIndex.execute("photos: fading").args[0]
    found = pack.RetrieveReferences.execute(index, *batch, top_k=2).ui["raiha_references"]
    (gallery / found[0]["name"]).unlink()
    notices = pack.RetrieveReferences.execute(index, *batch, top_k=2).ui["raiha_notices"]
    assert "vanished" in notices[0] and "Load Reference Index" in notices[0] and not COMMAND.search(notices[0])
    shutil.move(gallery, gallery.with_name("faded"))
    with pytest.raises(pack.error, match="choose the folder where it lies now") as caught:
        pack.RetrieveReferences.execute(index, *batch, top_k=2)
    assert not COMMAND.search(str(caught.value))


def test_a_finished_index_that_is_ruined_is_no_dead_end(pack: SimpleNamespace) -> None:
    _gallery(pack, "broken")
    pack.LoadReferenceIndex.execute("photos: broken")
    folder = pack.module("nodes.folders").index_path("index: broken", "embedded")
    pack.module("nodes.indexes")._open.clear()
    for file in folder.glob("catalogue*"):
        file.write_bytes(b"x" * 4096)
    with pytest.raises(pack.error, match="choose the photos as the source"):
        pack.LoadReferenceIndex.execute("index: broken")
    assert "made anew" in pack.LoadReferenceIndex.execute("photos: broken").args[1], "as the sentence says"
