"""The pack, imported as ComfyUI does it, over the contract stub."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
STUBBED = ("comfy", "comfy_api", "folder_paths", "server", "raiha_as_a_pack")


def _load(name: str, file: Path, **more: Any) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file, **more)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The nodes by name, the stub's state, and the pack's modules."""
    stub = _load("comfy_contract_stub", HERE / "comfy_contract_stub.py")
    base = tmp_path_factory.mktemp("comfyui")
    (base / "models").mkdir()
    (base / "input").mkdir()
    stub.install(base)
    # As ComfyUI does: the folder's name is anything, dots included, and the pack is not on sys.path.
    root = _load("raiha_as_a_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    extension = asyncio.run(root.comfy_entrypoint())
    asyncio.run(extension.on_load())
    nodes = {node.__name__: node for node in asyncio.run(extension.get_node_list())}

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"raiha_as_a_pack.{name}")

    error = module("raiha_core.errors").RaihaError
    yield SimpleNamespace(root=root, stub=stub, state=stub.State, nodes=nodes, module=module, base=base, error=error, **nodes)
    for name in [n for n in sys.modules if n.split(".")[0] in STUBBED]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real ComfyUI with the pack, the nodes of `given.py`, and a folder of galleries that extra_model_paths.yaml names."""
    started = _load("raiha_comfyui_server", HERE / "comfyui_server.py").started
    extra = tmp_path_factory.mktemp("elsewhere")
    for i, place in enumerate((extra / "travel", extra / "travel" / "2019")):
        place.mkdir()
        for photo in sorted((ROOT / "raiha_core/demo_data/gallery").glob("*.jpg"))[i : i + 2]:
            shutil.copy(photo, place)
    (extra / "paths.yaml").write_text(f"mine:\n  base_path: {extra}\n  raiha_galleries: .\n")
    python, paths = os.environ.get("COMFYUI_PYTHON", sys.executable), str(extra / "paths.yaml")
    # A name as users have them: neither a Python name nor the repository's.
    base = tmp_path_factory.mktemp("server")
    with started(os.environ["COMFYUI_DIR"], python, base, "ComfyUI-Raiha.test", "--extra-model-paths-config", paths) as running:
        yield running


@pytest.fixture
def batch(scene: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Four frames `(4, H, W, 3)` of the scene with noise, one of its highlights above 1, and a mask `(1, H, W)`."""
    image = torch.from_numpy(scene[0]).float()[None] / 255
    noise = torch.randn(4, *image.shape[1:], generator=torch.Generator().manual_seed(1)) * 0.05
    frames = (image + noise).clamp(0)
    frames[:, 40:44, 60:64] = 1.7
    return frames, torch.from_numpy(scene[1]).float()[None] / 255
