"""Contract stub: the parts of ComfyUI that `nodes/` imports, as small as they can be.

Only what the nodes use, with ComfyUI's names and parameters. `test_contract.py` compares it with a real ComfyUI where
COMFYUI_DIR points to one.
"""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch


class _Input:
    io_type = ""
    # Of the inputs of numbers and of lists only.
    min: float | None = None
    max: float | None = None
    options: list[str] | None = None

    def __init__(self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None, **rest: Any):
        self.id, self.optional, self.tooltip, self.rest = id, optional, tooltip, rest


class _WidgetInput(_Input):
    def __init__(
        self, id: str, display_name: Any = None, optional: bool = False, tooltip: Any = None, default: Any = None, socketless: Any = None,
        **rest: Any,
    ):  # fmt: skip
        super().__init__(id, display_name, optional, tooltip, **rest)
        self.default, self.socketless = default, socketless
        self.min, self.max, self.options = rest.get("min"), rest.get("max"), rest.get("options")


class _Output:
    def __init__(self, id: str | None = None, display_name: str | None = None, tooltip: str | None = None, is_output_list: bool = False):
        self.id, self.display_name, self.tooltip, self.is_output_list = id, display_name, tooltip, is_output_list


def _type(io_type: str, widget: bool = False) -> type:
    base = _WidgetInput if widget else _Input
    return type(
        io_type, (), {"io_type": io_type, "Input": type("Input", (base,), {"io_type": io_type}), "Output": type("Output", (_Output,), {})}
    )


@dataclass
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    description: str = ""
    is_output_node: bool = False
    search_aliases: list[str] = field(default_factory=list)


class NodeOutput:
    def __init__(self, *args: Any, ui: dict[str, Any] | None = None):
        self.args, self.ui = args, ui


class ComfyNode:
    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        return cls.define_schema()  # type: ignore[attr-defined,no-any-return]


class ComfyExtension:
    async def on_load(self) -> None: ...


class InterruptProcessingException(Exception):
    pass


class State:
    """What tests set and look at."""

    interrupted = False
    progress: ClassVar[list[tuple[int, int]]] = []
    loaded: ClassVar[list[Any]] = []
    base = Path()
    folders: ClassVar[dict[str, list[str]]] = {}


class ProgressBar:
    def __init__(self, total: int):
        self.total, self.current = total, 0

    def update_absolute(self, value: int, total: int | None = None) -> None:
        self.total, self.current = total or self.total, value
        State.progress.append((self.current, self.total))

    def update(self, value: int) -> None:
        self.update_absolute(self.current + value)


class ModelPatcher:
    def __init__(self, model: Any, load_device: Any, offload_device: Any):
        self.model, self.load_device, self.offload_device = model, load_device, offload_device


def throw_exception_if_processing_interrupted() -> None:
    if State.interrupted:
        State.interrupted = False
        raise InterruptProcessingException


def load_models_gpu(models: list[Any]) -> None:
    State.loaded += models


def add_model_folder_path(folder_name: str, full_folder_path: str) -> None:
    State.folders.setdefault(folder_name, []).append(full_folder_path)


class _Routes:
    table: ClassVar[dict[str, Any]] = {}

    def get(self, path: str) -> Any:
        return lambda handler: self.table.setdefault(path, handler)


def install(base: Path) -> None:
    """Put the stub where `import comfy` and its like find it; `base` is ComfyUI's folder."""
    State.base = base
    io = types.SimpleNamespace(
        Schema=Schema, ComfyNode=ComfyNode, NodeOutput=NodeOutput, WidgetInput=_WidgetInput, ComfyTypeIO=object,
        Custom=_type, comfytype=lambda io_type: lambda cls: type(cls.__name__, (cls,), {"io_type": io_type}),
        Image=_type("IMAGE"), Mask=_type("MASK"), ClipVision=_type("CLIP_VISION"),
        Int=_type("INT", True), Float=_type("FLOAT", True), Combo=_type("COMBO", True),
        Boolean=_type("BOOLEAN", True), String=_type("STRING", True),
    )  # fmt: skip
    cpu = lambda: torch.device("cpu")  # noqa: E731
    modules: dict[str, dict[str, Any]] = {
        "comfy_api": {}, "comfy_api.latest": {"io": io, "ComfyExtension": ComfyExtension}, "comfy": {},
        "comfy.model_management": {
            "throw_exception_if_processing_interrupted": throw_exception_if_processing_interrupted, "load_models_gpu": load_models_gpu,
            "get_torch_device": cpu, "unet_offload_device": cpu, "intermediate_device": cpu,
            "InterruptProcessingException": InterruptProcessingException,
        },
        "comfy.model_patcher": {"ModelPatcher": ModelPatcher}, "comfy.utils": {"ProgressBar": ProgressBar},
        "folder_paths": {
            "models_dir": str(base / "models"), "add_model_folder_path": add_model_folder_path,
            "get_folder_paths": lambda name: State.folders[name], "get_input_directory": lambda: str(base / "input"),
            "get_temp_directory": lambda: str(base / "temp"),
        },
        "server": {"PromptServer": types.SimpleNamespace(instance=types.SimpleNamespace(routes=_Routes()))},
    }  # fmt: skip
    for name, members in modules.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        sys.modules[name] = module
        if "." in name:
            parent, _, child = name.rpartition(".")
            setattr(sys.modules[parent], child, module)
