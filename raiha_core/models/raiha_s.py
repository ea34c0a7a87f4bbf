"""`raiha-s`: the small default model. It predicts a map of affine colour transforms from pooled evidence.

One global transform comes from what the foreground and its surroundings are and how they are coloured; a local residual
at 1/8 resolution bends it where the light does. Evidence is: features of a backbone distilled for content; colour
moments and histograms of foreground and background; and, by attention, the colours of places (in the background and in
any number of references) that show the same things as each place of the foreground. From these matches a closed-form
colour fit is offered to the head, which learns how far to trust it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..content.backbone import STRIDE, WIDTHS, Backbone, ConvNorm
from .base import AffineMap, Attention, HarmonizationModel, Prediction, apply_affine
from .colour_statistics import DESCRIPTOR, describe, fit_affine, moments
from .fusion import cosine_attention
from .rain import RAIN
from .registry import State, register

KEY = 64
TRUNK = 64
COLOUR = 6  # mean and spread of a token's colours


class Output(NamedTuple):
    """What the network gives for a batch.

    Attributes:
        matrix: `(B, 12, h, w)`, per-token affine transforms as in `AffineMap`.
        overall: `(B, 12, 1, 1)`, the global transform alone.
        weights: `(B, h * w, (1 + R) * h * w)`, attention of every token (only foreground rows mean anything).
        foreground: `(B, h * w)` bool, tokens touched by the mask.
    """

    matrix: Tensor
    overall: Tensor
    weights: Tensor
    foreground: Tensor


class _Looked(NamedTuple):
    """Tokens of all R references in a row: `keys` `(B, KEY, R * h * w)`, `values`, `bias` `(B, R * h * w)`; and their `summary`."""

    keys: Tensor
    values: Tensor
    bias: Tensor
    summary: Tensor


class _Block(nn.Module):
    """Residual block whose normalisation tells foreground from background."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm = RAIN(width)
        self.second = ConvNorm(width, width, relu=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.norm(self.first(x), mask))))


def _masked_mean(x: Tensor, weight: Tensor) -> Tensor:
    return (x * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-4)


def _token_colours(rgb: Tensor, weight: Tensor) -> Tensor:
    """Mean and standard deviation of the weighted colours in every token, `(B, 6, h, w)`."""
    share = F.avg_pool2d(weight, STRIDE) + 1e-4
    mean = F.avg_pool2d(rgb * weight, STRIDE) / share
    square = F.avg_pool2d(rgb * rgb * weight, STRIDE) / share
    return torch.cat([mean, (square - mean * mean).clamp_min(1e-6).sqrt()], 1)


class _Edge(NamedTuple):
    """Colours on both sides of the mask's edge, per token: `inner`, `outer` `(B, 3, h, w)`, `weight` `(B, 1, h, w)` in [0, 1]."""

    inner: Tensor
    outer: Tensor
    weight: Tensor


def _edge_colours(rgb: Tensor, mask: Tensor) -> _Edge:
    """Mean colours of the rings just inside and just outside the mask, over windows of three tokens.

    What is one surface on both sides must have one colour there: the cue that Poisson blending lives on.
    """
    wide = F.avg_pool2d(mask, 7, 1, 3, count_include_pad=False)
    rings = (mask * (1 - wide), (1 - mask) * wide)
    colours, shares = [], []
    for ring in rings:
        share = F.avg_pool2d(ring, 3 * STRIDE, STRIDE, STRIDE)
        colours.append(F.avg_pool2d(rgb * ring, 3 * STRIDE, STRIDE, STRIDE) / (share + 1e-4))
        shares.append(share)
    return _Edge(colours[0], colours[1], (30 * torch.minimum(*shares)).clamp(0, 1))


EDGE = 3 + 3 + 1 + 12 + 12
"""Length of what `_edge_evidence` says about a whole edge."""


def _edge_evidence(edge: _Edge, ridge: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Moments and two colour fits across the edge, `(B, EDGE)`, and the fit over places that look alike: A and shift."""
    inner, outer, weight = (x.flatten(2) for x in edge)
    difference = outer - inner
    total = weight.sum(2).clamp_min(1e-4)
    eye = torch.eye(3, device=inner.device)
    a_all, d_all = fit_affine(inner, outer, weight, ridge)
    alike = weight * (-(difference.square().sum(1, keepdim=True)) / 0.15**2).exp() + 1e-4 * weight
    a_alike, d_alike = fit_affine(inner, outer, alike, ridge)
    parts = [(difference * weight).sum(2) / total * 2, (difference.abs() * weight).sum(2) / total * 2, weight.mean(2)]
    for a, d in ((a_all, d_all), (a_alike, d_alike)):
        parts += [(a - eye).flatten(1).clamp(-2, 2), d * 2]
    return torch.cat(parts, 1), a_all, d_all


class RaihaS(HarmonizationModel):
    """The default model: 2.6 M parameters, any number of references. See the module's docstring.

    Args:
        input_size: side of the square picture it is shown, divisible by 32.
    """

    architecture = "raiha-s"
    crops = True

    def __init__(self, input_size: int = 192):
        super().__init__()
        self.input_size = input_size
        self.backbone = Backbone()
        c8, c16, c32 = WIDTHS
        self.reduce8 = nn.Conv2d(c8, 48, 1)
        self.reduce16 = nn.Conv2d(c16, 48, 1)
        self.reduce32 = nn.Conv2d(c32, 48, 1)
        deep = 3 * 48
        self.key = nn.Conv2d(deep, KEY, 1)
        self.scale = nn.Parameter(torch.tensor(12.0))
        self.trust = nn.Sequential(nn.Linear(2 * 9 + 1, 32), nn.ReLU(), nn.Linear(32, 1))
        self.enter = nn.Sequential(nn.Conv2d(deep + COLOUR + 1 + 4, TRUNK, 1), nn.ReLU(inplace=True))
        self.before = _Block(TRUNK)
        self.fuse = nn.Sequential(nn.Conv2d(TRUNK + 2 * COLOUR + 1, TRUNK, 1), nn.ReLU(inplace=True))
        self.after = _Block(TRUNK)
        pooled = 3 * TRUNK + 3 * c32 + 2 * DESCRIPTOR + 9 + 12 + 12 + 4 + EDGE
        self.head = nn.Sequential(nn.Linear(pooled, 384), nn.ReLU(), nn.Dropout(0.1), nn.Linear(384, 256), nn.ReLU())
        self.overall = nn.Linear(256, 12 + 4)
        self.hand_down = nn.Linear(256, 32)
        self.local = nn.Sequential(ConvNorm(TRUNK + 32, 48), nn.Conv2d(48, 12, 3, 1, 1))
        self.ridge = nn.Parameter(torch.tensor(-5.0))
        for last in (self.overall, self.local[-1]):
            assert isinstance(last, nn.Linear | nn.Conv2d) and last.bias is not None
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        with torch.no_grad():
            self.overall.bias[12:] = -3.0  # the fits start nearly untrusted

    def config(self) -> dict[str, Any]:
        """See `HarmonizationModel.config`."""
        return {"input_size": self.input_size}

    def _see(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Deep token features `(B, 144, h, w)` at 1/8 and the coarsest map."""
        f = self.backbone(rgb)
        size = f.eighth.shape[-2:]
        up = [
            F.interpolate(layer(x), size=size, mode="bilinear", align_corners=False)
            for layer, x in ((self.reduce16, f.sixteenth), (self.reduce32, f.last))
        ]
        return torch.cat([self.reduce8(f.eighth), *up], 1), f.last

    def forward(self, composite: Tensor, mask: Tensor, references: Tensor | None = None) -> Output:
        """Predict colour transforms.

        Args:
            composite: `(B, 3, S, S)`, sRGB in [0, 1], S divisible by 32.
            mask: `(B, 1, S, S)` in [0, 1].
            references: `(B, R, 3, S, S)` or None.
        """
        b = len(composite)
        deep, last = self._see(composite)
        h, w = deep.shape[-2:]
        touched = F.max_pool2d(mask, STRIDE) > 0.02  # (B, 1, h, w)
        covered = F.avg_pool2d(mask, STRIDE)
        colours = torch.where(touched, _token_colours(composite, mask), _token_colours(composite, 1 - mask))
        edge = _edge_colours(composite, mask)
        step = (edge.outer - edge.inner) * edge.weight
        x = self.before(self.enter(torch.cat([deep, colours, covered, step, edge.weight], 1)), touched.to(deep.dtype))

        # Statistics need no more than every second row and column.
        pixels, inner = composite[..., ::2, ::2].flatten(2), mask[..., ::2, ::2].flatten(2)
        back = moments(pixels, 1 - inner)
        summary = _masked_mean(last, F.adaptive_avg_pool2d(mask, (last.shape[-2], last.shape[-1])))
        own_values = torch.cat([x, colours], 1)
        looked = None if references is None or not references.shape[1] else self._reference_tokens(references, back, summary)
        keys, values = self.key(deep).flatten(2), own_values.flatten(2)
        allowed, bias = ~touched.flatten(1), torch.zeros(b, h * w, dtype=x.dtype, device=x.device)
        attended, weights = cosine_attention(
            keys,
            keys if looked is None else torch.cat([keys, looked.keys], 2),
            values if looked is None else torch.cat([values, looked.values], 2),
            allowed if looked is None else torch.cat([allowed, torch.ones_like(looked.bias, dtype=torch.bool)], 1),
            self.scale.clamp(1, 50),
            bias if looked is None else torch.cat([bias, looked.bias], 1),
        )
        match = attended.reshape(b, -1, h, w)
        # How concentrated the attention is says how good the match is.
        sharp = weights.square().sum(2).clamp_min(1e-8).log().reshape(b, 1, h, w) / 8 + 0.5
        own = touched.to(x.dtype)
        seen = match[:, -COLOUR:]
        x = self.after(self.fuse(torch.cat([x + own * (match[:, :TRUNK] - x) * 0.5, own * (seen - colours), colours, own * sharp], 1)), own)

        inside, away = covered * own, (1 - covered) * (1 - own)
        ridge = F.softplus(self.ridge)
        fit_weight = inside.flatten(2) * torch.sigmoid(4 * sharp.flatten(2))
        a_fit, d_fit = fit_affine(colours[:, :3].flatten(2), seen[:, :3].flatten(2), fit_weight, ridge)
        across, a_edge, d_edge = _edge_evidence(edge, ridge)
        evidence = [
            *(_masked_mean(y, where) for y, where in ((x, inside), (x, away), (match[:, :TRUNK], inside))),
            summary,
            last.mean((2, 3)),
            torch.zeros_like(summary) if looked is None else looked.summary,
            describe(pixels, inner),
            describe(pixels, 1 - inner),
            back[1].flatten(1) * 4,
            _masked_mean(seen - colours, inside) * 2,
            _masked_mean((seen - colours).abs(), inside) * 2,
            (a_fit - torch.eye(3, device=x.device)).flatten(1).clamp(-2, 2),
            d_fit * 2,
            _masked_mean(sharp, inside),
            mask.mean((2, 3)),
            own.mean((2, 3)),
            torch.full((b, 1), 0.0 if references is None else 1.0, device=x.device, dtype=x.dtype),
            across,
        ]
        hidden = self.head(torch.cat(evidence, 1))
        matrix, overall = self._compose(self.overall(hidden), hidden, x, moments(pixels, inner)[0], [(a_fit, d_fit), (a_edge, d_edge)])
        return Output(matrix, overall, weights, touched.flatten(1))

    def _reference_tokens(self, references: Tensor, back: tuple[Tensor, Tensor], summary: Tensor) -> _Looked:
        """What `(B, R, 3, S, S)` references offer to the foreground; `back` and `summary` say what they should fit."""
        b, r = references.shape[:2]
        flat = references.flatten(0, 1)
        deep, last = self._see(flat)
        everywhere = torch.ones_like(flat[:, :1])
        colours = _token_colours(flat, everywhere)
        none = torch.zeros_like(colours[:, :1])
        x = self.before(self.enter(torch.cat([deep, colours, none, none.expand(-1, 4, -1, -1)], 1)), none)
        light = self._light(moments(flat[..., ::4, ::4].flatten(2), everywhere[..., ::4, ::4].flatten(2)), back, r)
        pooled = last.mean((2, 3)).reshape(b, r, -1)
        alike = F.cosine_similarity(pooled, summary[:, None], dim=2)
        logit = self.trust(torch.cat([light, alike[:, :, None]], 2))  # (B, R, 1)

        def in_a_row(y: Tensor) -> Tensor:
            return y.flatten(2).reshape(b, r, y.shape[1], -1).transpose(1, 2).flatten(2)

        tokens = deep.shape[-2] * deep.shape[-1]
        return _Looked(
            in_a_row(self.key(deep)),
            in_a_row(torch.cat([x, colours], 1)),
            logit.expand(-1, -1, tokens).flatten(1),
            (pooled * logit.softmax(1)).sum(1),
        )

    def _light(self, own: tuple[Tensor, Tensor], back: tuple[Tensor, Tensor], r: int) -> Tensor:
        """How a reference's light differs from the background's, `(B, R, 18)`: signed and absolute differences of moments."""
        upper = torch.triu_indices(3, 3, device=own[0].device)
        mine = torch.cat([own[0], own[1][:, upper[0], upper[1]] * 4], 1).reshape(-1, r, 9)
        theirs = torch.cat([back[0], back[1][:, upper[0], upper[1]] * 4], 1)[:, None]
        return torch.cat([mine - theirs, (mine - theirs).abs()], 2)

    def _compose(self, raw: Tensor, hidden: Tensor, x: Tensor, mean: Tensor, fits: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Transforms about the foreground's mean colour, so that shift and contrast do not fight."""
        b, _, h, w = x.shape
        eye = torch.eye(3, device=x.device, dtype=x.dtype)
        gate = torch.sigmoid(raw[:, 12:])
        a, d = eye + raw[:, :9].reshape(b, 3, 3), raw[:, 9:12] * 0.5
        for i, (a_fit, d_fit) in enumerate(fits):
            a = a + gate[:, 2 * i, None, None] * (a_fit - eye).clamp(-2, 2)
            d = d + gate[:, 2 * i + 1, None] * d_fit
        handed = self.hand_down(hidden)[:, :, None, None].expand(-1, -1, h, w)
        local = self.local(torch.cat([x, handed], 1))
        a_map = a.reshape(b, 9, 1, 1) + local[:, :9] * 0.5
        d_map = d.reshape(b, 3, 1, 1) + local[:, 9:] * 0.25
        return _rows(a_map, d_map, mean), _rows(a.reshape(b, 9, 1, 1), d.reshape(b, 3, 1, 1), mean)

    def render(self, output: Output, composite: Tensor, mask: Tensor) -> Tensor:
        """Apply a batch's transforms at the resolution of `composite`, blended by the mask; not clamped."""
        matrix = F.interpolate(output.matrix, size=composite.shape[-2:], mode="bilinear", align_corners=False)
        return composite + mask * (apply_affine(composite, matrix) - composite)

    @torch.inference_mode()
    def predict(self, composite: Tensor, mask: Tensor, references: list[Tensor] | None = None, *, attention: bool = False) -> Prediction:
        """See `HarmonizationModel.predict`."""
        stacked = torch.stack([r[0] for r in references])[None].clamp(0, 1) if references else None
        out = self(composite.clamp(0, 1), mask, stacked)
        look = None
        if attention:
            queries = out.foreground[0].nonzero()[:, 0]
            side = int(out.foreground.shape[1] ** 0.5)
            look = Attention(out.weights[0, queries].float(), queries, (side, side), out.weights.shape[2] // out.weights.shape[1])
        return Prediction(AffineMap(out.matrix[0].float()), look)


def _rows(a: Tensor, d: Tensor, mean: Tensor) -> Tensor:
    """Pack A `(B, 9, h, w)`, d `(B, 3, h, w)` about a mean `(B, 3)` into `(B, 12, h, w)`: out = A (x - mean) + mean + d."""
    m = mean[:, :, None, None]
    rows = []
    for i in range(3):
        a_i = a[:, 3 * i : 3 * i + 3]
        rows += [a_i, m[:, i : i + 1] + d[:, i : i + 1] - (a_i * m).sum(1, keepdim=True)]
    return torch.cat(rows, 1)


def _build(state: State, metadata: Mapping[str, str]) -> RaihaS:
    model = RaihaS(**json.loads(metadata.get("config", "{}")))
    model.load_state_dict(state)
    return model


register("raiha-s", lambda state: "trust.0.weight" in state and "hand_down.weight" in state, _build)
