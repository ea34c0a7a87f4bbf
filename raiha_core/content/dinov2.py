"""`dinov2:MODEL`: vision transformers of timm as content encoders, DINOv2 with registers before all (Oquab et al., 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoint import digest, read_state
from ..errors import RaihaError
from . import hub
from .base import ContentEncoder, ContentFeatures

GRID = 32
"""Tokens per side: 448 px at a stride of 14."""


def create_vit(model: str) -> nn.Module:
    """An untrained timm vision transformer that takes any input size, frozen.

    Raises:
        RaihaError: timm is missing, or has no such transformer.
    """
    try:
        import timm
    except ImportError:
        raise _needs_timm(model) from None
    try:
        # Weights are always loaded afterwards, so the slow initialisation is left out.
        net: nn.Module = timm.create_model(model, pretrained=False, num_classes=0, dynamic_img_size=True, weight_init="skip")
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0][:100]
        raise RaihaError(
            f"timm has no vision transformer named {model!r} ({reason}); use for example vit_base_patch14_reg4_dinov2.lvd142m."
        ) from None
    return net.requires_grad_(False).eval()


def _needs_timm(model: str) -> RaihaError:
    return RaihaError(f"The encoder dinov2:{model} needs timm: install it with `pip install timm`.")


def read_vit(model: str, path: Path) -> nn.Module:
    """A timm vision transformer with the weights of a file, in timm's or the publisher's key names.

    Raises:
        RaihaError: the file is missing, broken, hostile or of another model.
    """
    state, _ = read_state(path)
    net: Any = create_vit(model)
    from timm.models.vision_transformer import checkpoint_filter_fn

    try:
        state = checkpoint_filter_fn({k: v for k, v in state.items() if not k.startswith(("head.", "mask_token"))}, net)
        net.load_state_dict({k: v.float() for k, v in state.items()})
    except (RuntimeError, KeyError, AttributeError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        raise RaihaError(f"{path} does not hold the weights of {model} ({reason}); give that model's own file.") from None
    loaded: nn.Module = net
    return loaded


def vit_features(net: nn.Module, images: Tensor) -> ContentFeatures:
    """Global vector and 32 x 32 map of pictures.

    Args:
        net: a timm vision transformer.
        images: `(B, 3, H, W)`, sRGB in [0, 1]; squeezed to a square of 32 patches a side (448 px for patches of 14).
    """
    vit: Any = net
    side = GRID * vit.patch_embed.patch_size[0]
    mean, std = (images.new_tensor(vit.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    x = F.interpolate(images.clamp(0, 1), size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    tokens = vit.forward_features((x - mean) / std)
    prefix = vit.num_prefix_tokens
    patches = tokens[:, prefix:]
    vector = tokens[:, 0] if vit.has_class_token else patches.mean(1)
    return ContentFeatures(F.normalize(vector.float(), dim=1), patches.float().mT.unflatten(2, (GRID, GRID)))


class Dinov2Encoder(ContentEncoder):
    """A timm vision transformer: its class token is the vector, its 32 x 32 patch tokens are the map."""

    def __init__(self, net: nn.Module, name: str, weights_hash: str, device: torch.device | str = "cpu"):
        self.net = net.eval().to(device)
        self.id = name
        self.weights_hash = weights_hash
        self.dim: int = cast(Any, net).num_features
        self.device = torch.device(device)

    @classmethod
    def load(cls, model: str, path: Path | None = None, device: torch.device | str = "cpu", download: bool = True) -> Dinov2Encoder:
        """Load by timm's model name, from a file or the library's cache.

        Args:
            model: for example `vit_base_patch14_reg4_dinov2.lvd142m`; without a tag timm's default one.
            path: a local file; None looks into the cache, then downloads.
            device: where to put it.
            download: whether missing weights may be downloaded, which is announced.

        Raises:
            RaihaError: unknown model; a file that is missing or does not fit; a download that failed or was not chosen.
        """
        name = f"dinov2:{model}" if path is None else f"dinov2:{model}@{path.resolve()}"
        file = path or locate(model, download)
        return cls(read_vit(model, file), name, digest(file), device)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> ContentFeatures:
        """See `ContentEncoder.encode`."""
        return vit_features(self.net, images.to(self.device, torch.float32))


def locate(model: str, download: bool = True) -> Path:
    """The file with a timm model's published weights, in the library's cache or downloaded. Errors as `Dinov2Encoder.load`."""
    try:
        import timm
    except ImportError:
        raise _needs_timm(model) from None
    try:
        config = timm.get_pretrained_cfg(model)
    except (RuntimeError, ValueError, KeyError):
        config = None
    repo = config.hf_hub_id if config is not None else None
    if config is None or not repo:
        raise RaihaError(f"timm knows no published weights of {model!r}; check the name, or give a local file: dinov2:{model}@FILE.")
    names = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    from huggingface_hub import hf_hub_download

    return hub.cached(repo, names) or hub.fetch(
        f"dinov2:{model}", f"huggingface.co/{repo}", download, lambda: str(hf_hub_download(repo, names[0]))
    )  # fmt: skip
