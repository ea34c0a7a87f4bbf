"""ComfyUI's own vision models (CLIP, SigLIP, DINO) as content encoders: what the user has loaded already serves in place of a download."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..raiha_core.content import ContentEncoder, ContentFeatures
from ..raiha_core.errors import RaihaError
from .comfy import model_management

_SAMPLED = 16
"""Tensors of the weights that tell one model from another."""


class ClipVisionEncoder(ContentEncoder):
    """A `CLIP_VISION` model: its embedding is the vector, its last layer's patch tokens are the map.

    Args:
        model: as Load CLIP Vision gives it.
    """

    def __init__(self, model: Any):
        if not callable(getattr(model, "encode_image", None)):
            raise RaihaError("The clip_vision input takes what Load CLIP Vision gives; connect that node.")
        self._model = model
        self.weights_hash = _digest(model.get_sd())
        # No name comes over the socket: the kind and the weights are what an index remembers.
        self.id = f"clip_vision:{getattr(model, 'model_type', 'model')}:{self.weights_hash}"
        self.dim = self._run(torch.zeros(1, 3, 64, 64)).vector.shape[1]

    def encode(self, images: Tensor) -> ContentFeatures:
        """See `ContentEncoder.encode`."""
        return self._run(images)

    def _run(self, images: Tensor) -> ContentFeatures:
        try:
            with torch.inference_mode():
                # Squeezed, not cropped: what lies at the border counts, too.
                found = self._model.encode_image(images.permute(0, 2, 3, 1).clamp(0, 1), crop=False)
                tokens, embedding = found["last_hidden_state"].float(), found["image_embeds"].float()
        except (AttributeError, KeyError, TypeError):  # ComfyUI also asks for layers, which some models do not give
            tokens, embedding = self._asked_directly(images)
        if embedding.ndim == 3:  # of SigLIP it gives all tokens
            embedding = embedding.mean(1)
        vector = F.normalize(embedding.flatten(1), dim=1)
        side = math.isqrt(tokens.shape[1])
        if tokens.shape[1] - side * side > 8:  # patches that are no square, as of SigLIP 2 with free proportions
            return ContentFeatures(vector, tokens.mean(1)[:, :, None, None])
        # Class and register tokens come first.
        patches = tokens[:, tokens.shape[1] - side * side :]
        return ContentFeatures(vector, patches.mT.unflatten(2, (side, side)))

    def _asked_directly(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Last tokens and embedding, from the network itself: DINOv3 gives no other layers, without which `encode_image` fails.

        Raises:
            RaihaError: this is another model.
        """
        model = self._model
        try:
            model_management.load_models_gpu([model.patcher])
            small = F.interpolate(images.clamp(0, 1), size=(model.image_size,) * 2, mode="bicubic", antialias=True).clamp(0, 1)
            mean, std = (torch.tensor(values)[:, None, None] for values in (model.image_mean, model.image_std))
            with torch.inference_mode():
                found = model.model(pixel_values=((small - mean) / std).to(model.load_device))
            return found[0].float().cpu(), found[2].float().cpu()
        except (AttributeError, KeyError, TypeError, IndexError) as error:
            raise RaihaError(f"This vision model encodes no pictures here ({error}); connect a CLIP, SigLIP or DINO model.") from None


def _digest(weights: dict[str, Tensor]) -> str:
    """A short digest of a model's weights; of large ones a sample is read, of every tensor the name and shape."""
    digest = hashlib.sha256()
    names = sorted(weights)
    for name in names:
        digest.update(f"{name} {tuple(weights[name].shape)}\0".encode())
    for name in names[:: max(1, len(names) // _SAMPLED)]:
        digest.update(weights[name].detach().flatten()[:4096].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
