"""`rhnet`: the network of *Retrieval Augmented Image Harmonization* (Wang et al., arXiv 2412.13916).

A U-Net on pictures of 256 px. References stand to the right of the composite, with a mask of 0 there, so that one set of
weights serves with any number of them; semantic-guided fusion at 1/8 resolution lets the foreground look at everything
else. Parameters bear the names of the published implementation, so that its checkpoints load.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...checkpoint import State
from ..base import Attention, HarmonizationModel, Prediction
from ..guided import fit_local_colours
from ..rain import RAIN
from ..registry import register
from .blocks import CONTENT_STRIDE, DynamicConv, SemanticFusion, down, up
from .prior import DINOV2, ContentPrior

_UNUSED = (".conv_guide.weight", ".conv_guide.bias")
"""Parameters that the published network carries and never uses."""
_DECODER = {9: (16, 8, True), 10: (16, 8, False), 11: (16, 4, True), 12: (8, 2, False), 13: (4, 1, True)}
"""Stage -> channels in and out, in units of n, and whether it doubles the resolution."""
_DYNAMIC = (11, 12, 13)
"""Stages that end in a dynamic convolution."""


class Output(NamedTuple):
    """What the network gives for a batch.

    Attributes:
        image: `(B, 3, S, (1 + R) * S)` in [-1, 1]; only the left part, inside the mask, means anything.
        weights: `(B, h * w, (1 + R) * h * w)`, attention of every composite token (only foreground rows mean anything).
        foreground: `(B, h * w)` bool, tokens touched by the mask.
    """

    image: Tensor
    weights: Tensor
    foreground: Tensor


class RHNet(HarmonizationModel):
    """The paper's network: 11.46 M parameters at its full width; any number of references.

    Args:
        ngf: n, the width; the paper: 32.
        content_channels: channels of the content prior; 0 for a network without.
        prior: the content encoder, as `raiha_core.content.load_encoder` names it.
        denoise: whether the prior's map passes through a learned denoising block, stored with the network.
        carries_prior: whether the prior's own weights are stored with the network.
        input_size: S, divisible by 8.
    """

    architecture = "rhnet"
    crops = False

    def __init__(
        self,
        ngf: int = 32,
        content_channels: int = 768,
        prior: str = DINOV2,
        denoise: bool = False,
        carries_prior: bool = False,
        input_size: int = 256,
    ):
        super().__init__()
        n = ngf
        self.ngf, self.content_channels, self.input_size = ngf, content_channels, input_size
        self.model_layer0 = nn.Conv2d(3, n, 3, 1, 1, bias=False)
        self.model_layer1 = down(n, 2 * n, half=True)
        self.model_layer2 = down(2 * n, 4 * n)
        self.model_layer3 = down(4 * n, 8 * n, half=True)
        self.model_layer4 = down(8 * n, 8 * n)
        self.model_layer5 = down(8 * n, 8 * n, half=True)
        self.model_layer6 = down(8 * n, 8 * n)
        self.model_layer71 = down(8 * n, 8 * n)
        self.model_layer72 = up(8 * n, 8 * n)
        self.model_layer8 = up(16 * n, 8 * n)
        self.DVTATT = SemanticFusion(16 * n, content_channels)
        for index, (cin, cout, double) in _DECODER.items():
            setattr(self, f"model_layer{index}", up(cin * n, cout * n, double=double))
            setattr(self, f"model_layer{index}norm", RAIN(cout * n))
            if index in _DYNAMIC:
                setattr(self, f"model_layer{index}att", DynamicConv(2 * cout * n))
        self.model_out = up(2 * n, 3, bias=True)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.prior = ContentPrior(prior, content_channels, denoise=denoise, carried=carries_prior) if content_channels else None

    def config(self) -> dict[str, Any]:
        """See `HarmonizationModel.config`."""
        own = {"ngf": self.ngf, "content_channels": self.content_channels, "input_size": self.input_size}
        return own if self.prior is None else own | self.prior.config()

    def forward(
        self,
        composite: Tensor,
        mask: Tensor,
        content: Tensor | None = None,
        references: Tensor | None = None,
        content_references: Tensor | None = None,
    ) -> Output:
        """Harmonise in the network's own units; differentiable.

        Args:
            composite: `(B, 3, S, S)`, sRGB in [-1, 1], S divisible by 8.
            mask: `(B, 1, S, S)`, 0 or 1.
            content: `(B, content_channels, S / 8, S / 8)`, what `encode_content` gives; None if `content_channels` is 0.
            references: `(B, R, 3, S, S)` in [-1, 1], or None.
            content_references: `(B, R, content_channels, S / 8, S / 8)`, or None.
        """
        wide_mask = mask
        x = composite
        if references is not None and references.shape[1]:
            x = torch.cat([x, *references.unbind(1)], 3)
            wide_mask = F.pad(mask, (0, x.shape[3] - mask.shape[3]))
            if content is not None and content_references is not None:
                content = torch.cat([content, *content_references.unbind(1)], 3)
        x = self.model_layer0(x)
        # Skips are taken after the next layer's activation: the published network activates in place.
        skips = []
        for name in ("1", "2", "3", "4", "5", "6", "71"):
            activate, convolve = getattr(self, f"model_layer{name}")
            skips.append(activate(x))
            x = convolve(skips[-1])
            if name != "71":
                x = F.instance_norm(x)
        x = torch.cat([skips.pop(), F.instance_norm(self.model_layer72(x))], 1)
        x = torch.cat([skips.pop(), F.instance_norm(self.model_layer8(x))], 1)
        x, weights, foreground = self.DVTATT(x, mask, content)
        for index in _DECODER:
            x = getattr(self, f"model_layer{index}norm")(getattr(self, f"model_layer{index}")(x), wide_mask)
            x = torch.cat([skips.pop(), x], 1)
            if index in _DYNAMIC:
                x = getattr(self, f"model_layer{index}att")(x, wide_mask)
        return Output(torch.tanh(self.model_out(x)), weights, foreground)

    def encode_content(self, images: Tensor) -> Tensor | None:
        """The content prior's map of pictures `(B, 3, S, S)` in [0, 1]: `(B, content_channels, S / 8, S / 8)`; None without a prior.

        Raises:
            RaihaError: the prior's weights are not on this machine.
        """
        return None if self.prior is None else self.prior(images, images.shape[-1] // CONTENT_STRIDE)

    def render(self, output: Output, composite: Tensor, mask: Tensor) -> Tensor:
        """The network's picture in [0, 1], blended by the mask over `composite` `(B, 3, S, S)` in [0, 1]."""
        image = output.image[..., : composite.shape[3]] / 2 + 0.5
        return composite + mask * (image - composite)

    @torch.inference_mode()
    def predict(
        self,
        composite: Tensor,
        mask: Tensor,
        references: list[Tensor] | None = None,
        *,
        attention: bool = False,
        caution: float | None = None,
    ) -> Prediction:
        """See `HarmonizationModel.predict`; the network's pixels become a local colour transform (`fit_local_colours`)."""
        rgb = torch.cat([composite, *(references or [])]).clamp(0, 1)
        binary = (mask > 0.5).to(rgb.dtype)
        if not binary.any():
            binary = (mask > 0).to(rgb.dtype)
        content = self.encode_content(rgb)
        scaled = rgb * 2 - 1
        out = self(
            scaled[:1], binary, None if content is None else content[:1], scaled[None, 1:], None if content is None else content[None, 1:]
        )
        attended = None
        if attention:
            queries = out.foreground[0].nonzero()[:, 0]
            side = composite.shape[-1] // CONTENT_STRIDE
            attended = Attention(out.weights[0, queries].float(), queries, (side, side), len(rgb))
        return Prediction(fit_local_colours(rgb[:1], self.render(out, rgb[:1], binary), binary), attended)


def _build(state: State, metadata: Mapping[str, str]) -> RHNet:
    state = {k: v for k, v in state.items() if not k.endswith(_UNUSED)}
    model = RHNet(**(json.loads(metadata["config"]) if "config" in metadata else infer_config(state)))
    model.load_state_dict(state)
    return model


def infer_config(state: State) -> dict[str, Any]:
    """Constructor arguments from the shapes of a state dict, for checkpoints that do not say."""
    ngf = state["model_layer0.weight"].shape[0]
    content = state["DVTATT.K_conv.weight"].shape[1] - 16 * ngf
    return {
        "ngf": ngf,
        "content_channels": content,
        "denoise": "prior.denoiser.pos_embed" in state,
        "carries_prior": any(k.startswith("prior.vit.") for k in state),
    }


register("rhnet", lambda state: "DVTATT.K_conv.weight" in state and "model_layer0.weight" in state, _build)
