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

from ...checkpoint import State
from ..base import AffineMap, Attention, ColorTransform, HarmonizationModel, Prediction, apply_affine
from ..fusion import cosine_attention
from ..registry import register
from .backbone import WIDTHS, Backbone, ConvNorm
from .colour_statistics import DESCRIPTOR, fit_affine, moments
from .edges import EDGE, STEPS, edge_evidence
from .evidence import Evidence, observe, shown_mask
from .folded import folded
from .layers import Block, Wide, masked_mean, token_colours, zeros
from .outline import Found, Outline, outlined
from .references import LIGHT, Encoded, Memory, ReferenceTokens, light_differences

KEY = 64
TRUNK = 64
COLOUR = 6  # mean and spread of a token's colours


class Output(NamedTuple):
    """What the network gives for a batch.

    Attributes:
        matrix: `(B, 12, h, w)`, per-token affine transforms as in `AffineMap`.
        overall: `(B, 12, 1, 1)`, the global transform alone.
        touched: `(B,)`, logit of the belief that the foreground does not belong yet; all changes are scaled by it.
        weights: attention of every picture's foreground tokens `(Q, (1 + R) * h * w)`, where it was asked for.
        foreground: `(B, h * w)` bool, tokens touched by the object.
        outline: where the objects end.
    """

    matrix: Tensor
    overall: Tensor
    touched: Tensor
    weights: tuple[Tensor, ...]
    foreground: Tensor
    outline: Found


class _Scene(NamedTuple):
    """A batch of composites as the network knows it without references.

    `keys` `(B, KEY, h * w)`, `x` `(B, TRUNK, h, w)`; pooled features of foreground and picture (`summary`, `overview`); `evidence`;
    what the edge says as a whole (`across`, `edge_fit`); where the objects end (`outline`).
    """

    keys: Tensor
    x: Tensor
    summary: Tensor
    overview: Tensor
    evidence: Evidence
    across: Tensor
    edge_fit: tuple[Tensor, Tensor]
    outline: Found


def full_precision(x: Tensor) -> torch.autocast:
    """Where autocast is on, off: for what is solved, compared or normalised."""
    return torch.autocast(x.device.type, enabled=False)


class RaihaS(HarmonizationModel):
    """The default model: 3.20 M parameters, any number of references. See the module's docstring.

    Args:
        input_size: side of the square picture it is shown, divisible by 32.
        caution: what `predict` takes where it is told none; what measured best for the weights.
    """

    architecture = "raiha-s"
    crops = True

    def __init__(self, input_size: int = 192, caution: float = 0.0):
        super().__init__()
        self.input_size, self.caution = input_size, caution
        self.backbone = Backbone()
        c8, c16, c32 = WIDTHS
        self.reduce8 = nn.Conv2d(c8, 48, 1)
        self.reduce16 = nn.Conv2d(c16, 48, 1)
        self.reduce32 = nn.Conv2d(c32, 48, 1)
        deep = 3 * 48
        self.key = nn.Conv2d(deep, KEY, 1)
        self.scale = nn.Parameter(torch.tensor(12.0))
        self.trust = nn.Sequential(nn.Linear(LIGHT + 1, 32), nn.ReLU(), nn.Linear(32, 1))
        self.enter = nn.Sequential(nn.Conv2d(deep + COLOUR + 1 + 4, TRUNK, 1), nn.ReLU(inplace=True))
        # What came after the first weights starts as nothing, so that older weights can go on being trained.
        self.pixels = nn.Sequential(ConvNorm(4, 24, 2), ConvNorm(24, 32, 2), ConvNorm(32, 64, 2), zeros(nn.Conv2d(64, TRUNK, 1)))
        self.across = zeros(nn.Conv2d(4, TRUNK, 1))
        self.wide = Wide(TRUNK)
        self.trusts = zeros(nn.Linear(256, 2), [-3.0, 3.0])
        self.steps = nn.Sequential(nn.Linear(STEPS, 48), nn.ReLU(), zeros(nn.Linear(48, 384)))
        self.doubt = nn.Sequential(nn.Linear(256 + STEPS + 1, 24), nn.ReLU(), zeros(nn.Linear(24, 1)))
        self.deeper = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), zeros(nn.Linear(256, 256)))
        self.before = Block(TRUNK)
        self.fuse = nn.Sequential(nn.Conv2d(TRUNK + 2 * COLOUR + 1, TRUNK, 1), nn.ReLU(inplace=True))
        self.after = Block(TRUNK)
        pooled = 3 * TRUNK + 3 * c32 + 2 * DESCRIPTOR + 9 + 12 + 12 + 4 + EDGE
        self.head = nn.Sequential(nn.Linear(pooled, 384), nn.ReLU(), nn.Dropout(0.1), nn.Linear(384, 256), nn.ReLU())
        self.overall = zeros(nn.Linear(256, 12 + 4), [0.0] * 12 + [-3.0] * 4)  # the fits start nearly untrusted
        self.hand_down = nn.Linear(256, 32)
        self.local = nn.Sequential(ConvNorm(TRUNK + 32, 48), zeros(nn.Conv2d(48, 12, 3, 1, 1)))
        self.ridge = nn.Parameter(torch.tensor(-5.0))
        self.outline = Outline()
        # What a picture shows tells training pictures apart so well that their colours can be learnt by heart.
        self.forget, self.blur = nn.Dropout(0.5), nn.Dropout2d(0.1)
        self._memory = Memory()  # of a twin that predicts
        self.edgeless = 0.3  # share of training pictures of whose edge nothing is said

    def config(self) -> dict[str, Any]:
        """See `HarmonizationModel.config`."""
        return {"input_size": self.input_size, "caution": self.caution}

    def _see(self, rgb: Tensor, learn: bool = True) -> tuple[Tensor, Tensor]:
        """Deep token features `(B, 144, h, w)` at 1/8 and the coarsest map; without `learn` the backbone gets no gradient from them."""
        with torch.set_grad_enabled(learn and torch.is_grad_enabled()):
            f = self.backbone(rgb)
        size = f.eighth.shape[-2:]
        up = [
            F.interpolate(layer(x), size=size, mode="bilinear", align_corners=False)
            for layer, x in ((self.reduce16, f.sixteenth), (self.reduce32, f.last))
        ]
        return torch.cat([self.reduce8(f.eighth), *up], 1), f.last

    def forward(self, composite: Tensor, mask: Tensor, references: Tensor | None = None, attention: bool = False) -> Output:
        """Predict colour transforms.

        Args:
            composite: `(B, 3, S, S)`, sRGB in [0, 1], S divisible by 32.
            mask: `(B, 1, S, S)` in [0, 1], as `shown_mask` gives it.
            references: `(B, R, 3, S, S)`, `(1, R, 3, S, S)` where all composites share them, or None.
            attention: also say where the foreground looked.
        """
        scene, offered = self._scene(composite, mask), None
        if references is not None and references.shape[1]:
            offered = self._offered(self._encoded(references.flatten(0, 1)), references.shape[0], scene)
        return self._answer(scene, offered, attention)

    def _scene(self, composite: Tensor, mask: Tensor) -> _Scene:
        """What is known of the composites before any reference is looked at."""
        deep, last = self._see(composite)
        outline: Found = self.outline(composite, mask)
        with torch.no_grad(), full_precision(composite):
            mask = outlined(outline.inside, mask)
            evidence = observe(composite, mask)
        if self.training:
            # Pasted objects meet at their edge what they have nothing to do with: there must be an answer without it.
            keep = torch.rand(len(composite), device=composite.device) >= self.edgeless
            evidence = evidence.without_edge(keep.to(composite.dtype))
        edge, spread = evidence.edge, evidence.spread
        x = self.enter(torch.cat([self.blur(deep), evidence.colours, evidence.covered, edge.step, edge.weight], 1))
        x = x + self.pixels(torch.cat([composite - 0.5, mask], 1)) + self.across(spread)
        with full_precision(x):
            across, a_edge, d_edge = edge_evidence(edge, F.softplus(self.ridge.float()))
            last = last.float()
            summary = masked_mean(last, F.adaptive_avg_pool2d(mask, (last.shape[-2], last.shape[-1])))
        return _Scene(
            keys=self.key(deep).flatten(2),
            x=self.before(x, evidence.own),
            summary=summary,
            overview=last.mean((2, 3)),
            evidence=evidence,
            across=across,
            edge_fit=(a_edge, d_edge),
            outline=outline,
        )

    def _attend(self, scene: _Scene, offered: ReferenceTokens | None, attention: bool) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """What every foreground token finds elsewhere.

        Returns:
            `(B, TRUNK + COLOUR, h, w)`; the length of every token's row of weights `(B, 1, h, w)`, which says how concentrated they
            are; and the weights as in `Output`. Of other tokens the first two mean nothing.
        """
        b, _, h, w = scene.x.shape
        keys, values = scene.keys, torch.cat([scene.x.float(), scene.evidence.colours], 1).flatten(2)
        allowed, bias = scene.evidence.own.flatten(1) == 0, torch.zeros(b, h * w, device=keys.device)
        everywhere = keys
        if offered is not None:
            everywhere, values = torch.cat([keys, offered.keys], 2), torch.cat([values, offered.values], 2)
            allowed, bias = torch.cat([allowed, torch.ones_like(offered.bias, dtype=torch.bool)], 1), torch.cat([bias, offered.bias], 1)
        scale = self.scale.clamp(1, 50)
        if torch.is_grad_enabled():
            attended, weights = cosine_attention(keys, everywhere, values, allowed, scale, bias)
            # How concentrated the attention is is not taught, which would cost as much as attending.
            length = torch.linalg.vector_norm(weights.detach(), dim=2, dtype=torch.float32)
            said = tuple(rows[own] for rows, own in zip(weights, ~allowed[:, : h * w], strict=True)) if attention else ()
            return attended.float().reshape(b, -1, h, w), length.reshape(b, 1, h, w), said
        # Only the foreground asks, and only what is not foreground answers: a small part of all pairs.
        found, length, said = values.new_zeros(b, values.shape[1], h * w), values.new_zeros(b, h * w), ()
        for i in range(b):
            ask, answer = (~allowed[i, : h * w]).nonzero()[:, 0], allowed[i].nonzero()[:, 0]
            there = (everywhere[i : i + 1, :, answer], values[i : i + 1, :, answer])
            every = torch.ones_like(answer, dtype=torch.bool)[None]
            attended, weights = cosine_attention(keys[i : i + 1, :, ask], *there, every, scale, bias[i : i + 1, answer])
            found[i, :, ask] = attended[0].float()
            length[i, ask] = torch.linalg.vector_norm(weights[0], dim=1, dtype=torch.float32)
            if attention:
                said = (*said, weights.new_zeros(len(ask), allowed.shape[1]).index_copy_(1, answer, weights[0]))
        return found.reshape(b, -1, h, w), length.reshape(b, 1, h, w), said

    def _answer(self, scene: _Scene, offered: ReferenceTokens | None, attention: bool) -> Output:
        """The transforms, given what the references offer, if there are any."""
        x, seen_here = scene.x, scene.evidence
        colours, own = seen_here.colours, seen_here.own
        b = len(x)
        match, length, weights = self._attend(scene, offered, attention)
        sharp = length.clamp_min(1e-4).log() / 4 + 0.5  # says how good the match is
        seen = match[:, -COLOUR:]
        x = self.after(self.fuse(torch.cat([x + own * (match[:, :TRUNK] - x) * 0.5, own * (seen - colours), colours, own * sharp], 1)), own)
        x = self.wide(x, own)

        with full_precision(x):
            inside, away = seen_here.covered * own, (1 - seen_here.covered) * (1 - own)
            fit_weight = inside.flatten(2) * torch.sigmoid(4 * sharp.flatten(2))
            a_fit, d_fit = fit_affine(colours[:, :3].flatten(2), seen[:, :3].flatten(2), fit_weight, F.softplus(self.ridge.float()))
            evidence = [
                *(masked_mean(y.float(), where) for y, where in ((x, inside), (x, away), (match[:, :TRUNK], inside))),
                self.forget(scene.summary),
                self.forget(scene.overview),
                torch.zeros_like(scene.summary) if offered is None else self.forget(offered.summary),
                seen_here.described,
                masked_mean(seen - colours, inside) * 2,
                masked_mean((seen - colours).abs(), inside) * 2,
                (a_fit - torch.eye(3, device=x.device)).flatten(1).clamp(-2, 2),
                d_fit * 2,
                masked_mean(sharp, inside),
                seen_here.extent,
                torch.full((b, 1), 0.0 if offered is None else 1.0, device=x.device),
                scene.across,
            ]
        hidden = self.head[1:](self.head[0](torch.cat(evidence, 1)) + self.steps(seen_here.steps))
        hidden = hidden + self.deeper(hidden)
        matrix, overall, belief = self._compose(hidden, x, scene, [(a_fit, d_fit), scene.edge_fit])
        return Output(matrix, overall, belief, weights, own.flatten(1) > 0, scene.outline)

    def _encoded(self, references: Tensor) -> Encoded:
        """What `(N, 3, S, S)` references show, and in which light."""
        deep, last = self._see(references, learn=False)  # composites teach the backbone; references would make a step twice as long
        everywhere = torch.ones_like(references[:, :1])
        colours = token_colours(references, everywhere)
        none = torch.zeros_like(colours[:, :1])
        x = self.before(self.enter(torch.cat([deep, colours, none, none.expand(-1, 4, -1, -1)], 1)), none)
        keys = self.key(deep)
        with full_precision(x):
            mean, covariance = moments(references[..., ::4, ::4].flatten(2), everywhere[..., ::4, ::4].flatten(2))
            pooled = last.float().mean((2, 3))
        return Encoded(keys.flatten(2), torch.cat([x.float(), colours], 1).flatten(2), mean, covariance, pooled)

    def _offered(self, references: Encoded, sets: int, scene: _Scene) -> ReferenceTokens:
        """What `sets` of references, one for each composite or one for all, offer to the scene's foreground."""
        b, r = sets, len(references.keys) // sets
        with full_precision(scene.x):
            back = (scene.evidence.back_mean, scene.evidence.back_covariance)
            light = light_differences((references.mean, references.covariance), back, r)
            pooled = references.pooled.reshape(b, r, -1)
            alike = F.cosine_similarity(pooled, scene.summary[:, None], dim=2)
            logit = self.trust(torch.cat([light, alike[:, :, None]], 2))  # (B, R, 1)
            # Beside the references stands "none of them", with a logit of 0: what is not trusted fades instead of being shared out.
            share = F.pad(logit, (0, 0, 0, 1)).softmax(1)[:, :-1]

        composites = len(scene.x)

        def in_a_row(y: Tensor) -> Tensor:
            row = y.float().reshape(b, r, *y.shape[1:]).transpose(1, 2).flatten(2)
            return row.expand(composites, -1, -1)

        return ReferenceTokens(
            in_a_row(references.keys).to(references.keys.dtype),
            in_a_row(references.values),
            logit.expand(-1, -1, references.keys.shape[2]).flatten(1),
            (pooled * share).sum(1),
        )

    def _compose(self, hidden: Tensor, x: Tensor, scene: _Scene, fits: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        """Transforms about the foreground's mean colour, so that shift and contrast do not fight; and the logit of `touched`."""
        b, _, h, w = x.shape
        mean, covariance = scene.evidence.front_mean, scene.evidence.front_covariance
        eye = torch.eye(3, device=x.device, dtype=x.dtype)
        raw, trusts = self.overall(hidden).float(), self.trusts(hidden).float()
        gate, by_edge = torch.sigmoid(raw[:, 12:]), torch.sigmoid(trusts[:, :1])
        a, d = raw[:, :9].reshape(b, 3, 3), raw[:, 9:12] * 0.5
        for i, (a_fit, d_fit) in enumerate(fits):
            a = a + gate[:, 2 * i, None, None] * (a_fit - eye).clamp(-2, 2)
            d = d + gate[:, 2 * i + 1, None] * d_fit
        # How far the foreground would be moved tells much about whether it was touched.
        move = (d.square().sum(1) + ((a @ covariance) * a).sum((1, 2))).detach()[:, None]
        touched = trusts[:, 1:] + self.doubt(torch.cat([hidden, scene.evidence.steps, (move + 1e-4).log() * 0.3], 1))
        belief = torch.sigmoid(touched)
        a, d = (eye + belief[:, :, None] * a).reshape(b, 9, 1, 1), (belief * d)[:, :, None, None]
        handed = self.hand_down(hidden)[:, :, None, None].expand(-1, -1, h, w)
        local = self.local(torch.cat([x, handed], 1)).float() * belief[:, :, None, None]
        a_map = a + local[:, :9] * 0.5
        d_map = d + local[:, 9:] * 0.25 + (belief * by_edge)[:, :, None, None] * scene.evidence.spread[:, :3]
        return _rows(a_map, d_map, mean), _rows(a, d, mean), touched[:, 0]

    def render(self, output: Output, composite: Tensor, mask: Tensor) -> Tensor:
        """Apply a batch's transforms at the resolution of `composite`, blended by the mask; not clamped."""
        matrix = F.interpolate(output.matrix, size=composite.shape[-2:], mode="bilinear", align_corners=False)
        return composite + mask * (apply_affine(composite, matrix) - composite)

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
        """See `HarmonizationModel.predict`."""
        out = self._predicted(composite, mask, references, attention)
        matrix = self.cautious(out, self.caution if caution is None else caution)
        attended = None
        if attention:
            queries, tokens = out.foreground[0].nonzero()[:, 0], out.foreground.shape[1]
            side = int(tokens**0.5)
            attended = Attention(out.weights[0].float(), queries, (side, side), out.weights[0].shape[1] // tokens)
        return Prediction(AffineMap(matrix[0].float()), attended)

    @torch.inference_mode()
    def predict_batch(
        self, composites: Tensor, masks: Tensor, references: list[Tensor] | None = None, *, caution: float | None = None, **options: Any
    ) -> list[ColorTransform]:
        """See `HarmonizationModel.predict_batch`."""
        out = self._predicted(composites, masks, references)
        return [AffineMap(matrix.float()) for matrix in self.cautious(out, self.caution if caution is None else caution)]

    def _predicted(self, composites: Tensor, masks: Tensor, references: list[Tensor] | None, attention: bool = False) -> Output:
        """As `forward`, for pictures as they come; all composites share the references."""
        twin = self if self.training else folded(self)
        scene = twin._scene(composites.clamp(0, 1), shown_mask(masks))
        # One by one, so that an answer does not depend on what was asked before.
        shown = [reference.clamp(0, 1) for reference in references or ()]
        known = [twin._encoded(r) if self.training else twin._memory.known(r, twin._encoded) for r in shown]
        offered = twin._offered(Encoded(*map(torch.cat, zip(*known, strict=True))), 1, scene) if known else None
        return twin._answer(scene, offered, attention)

    def cautious(self, output: Output, caution: float) -> Tensor:
        """A batch's transforms, those that are hardly believed in drawn to the identity: `(B, 12, h, w)`.

        Args:
            caution: 0 gives what the network proposes; at 1 what it half believes is made to a quarter.
        """
        if caution <= 0:
            return output.matrix
        identity = torch.eye(3, 4, device=output.matrix.device).reshape(1, 12, 1, 1)
        believed = torch.sigmoid(output.touched).pow(2 * caution)[:, None, None, None]
        return torch.lerp(identity, output.matrix, believed)


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
    # Weights from before the head was made deeper, or outlines were looked for: these start as nothing.
    older = {k: v for k, v in model.state_dict().items() if k.startswith(("deeper.", "outline.")) and k not in state}
    model.load_state_dict({**state, **older})
    return model


register("raiha-s", lambda state: "trust.0.weight" in state and "hand_down.weight" in state, _build)
