"""Custom nodes for the tests on a real ComfyUI: they give what no node of its own gives. `comfyui_server.started` puts them in."""

from __future__ import annotations

import json
from typing import Any, ClassVar


class Anything(str):
    """A type that fits every socket."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class Value:
    """A value of JSON, over any socket."""

    RETURN_TYPES = (Anything("*"),)
    FUNCTION = "give"
    CATEGORY = "tests"
    INPUT_TYPES: ClassVar[Any] = classmethod(lambda cls: {"required": {"text": ("STRING", {"default": "null"})}})

    def give(self, text: str) -> tuple[Any]:
        return (json.loads(text),)


class Tensors:
    """A tensor of a shape, filled as its kind says: grey, noise, nan, black, white, spot."""

    RETURN_TYPES = (Anything("*"),)
    FUNCTION = "give"
    CATEGORY = "tests"
    INPUT_TYPES: ClassVar[Any] = classmethod(
        lambda cls: {"required": {"shape": ("STRING", {"default": "1,48,64"}), "kind": ("STRING", {"default": "spot"})}}
    )

    def give(self, shape: str, kind: str) -> tuple[Any]:
        import torch

        sides = [int(n) for n in shape.split(",")]
        made = torch.rand(sides, generator=torch.Generator().manual_seed(0)) if kind == "noise" else torch.zeros(sides)
        made += {"white": 1.0, "grey": 0.5, "nan": float("nan")}.get(kind, 0.0)
        if kind in ("spot", "fills later"):
            made[..., sides[-2] // 3 : -(sides[-2] // 3), sides[-1] // 3 : -(sides[-1] // 3)] = 1
        if kind == "fills later":
            made[-1] = 1
        return (made,)


class Vision:
    """A real vision model of ComfyUI's, small and untrained, of a family."""

    RETURN_TYPES = ("CLIP_VISION",)
    FUNCTION = "give"
    CATEGORY = "tests"
    INPUT_TYPES: ClassVar[Any] = classmethod(lambda cls: {"required": {"family": ("STRING", {"default": "clip_vision_model"})}})

    def give(self, family: str) -> tuple[Any]:
        import torch
        from comfy.clip_vision import ClipVisionModel

        config = {
            "model_type": family, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 3,
            "image_size": 56, "patch_size": 14, "num_channels": 3, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "num_patches": 16,
            "use_swiglu_ffn": False, "layerscale_value": 1.0, "mlp_ratio": 2, "mlp_bias": True, "key_bias": False, "proj_bias": True,
            "query_bias": True, "value_bias": True, "num_register_tokens": 4, "rope_theta": 100.0, "use_gated_mlp": False,
            "pos_embed_rescale": 2.0, "image_mean": [0.5] * 3, "image_std": [0.25] * 3,
        }  # fmt: skip
        if family == "clip_vision_model":
            config["projection_dim"] = 32
        model = ClipVisionModel(config)
        random = torch.Generator().manual_seed(1)
        for parameter in model.model.parameters():
            parameter.data = torch.randn(parameter.shape, generator=random) * 0.05
        return (model,)


NODE_CLASS_MAPPINGS = {"TestValue": Value, "TestTensors": Tensors, "TestVision": Vision}
