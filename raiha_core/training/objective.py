"""What a model is trained for: how its loss is computed and how its weights are saved."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import RaihaError
from ..models import RaihaS, save_model
from ..models.base import apply_affine, sample_map
from ..models.raiha_s.evidence import shown_mask
from ..models.raiha_s.outline import outline_loss
from ..models.rhnet import RHNet
from .config import TrainConfig
from .losses import foreground_mse, harmonisation_loss, seen_weight
from .sources import Triplets

log = logging.getLogger(__name__)

EVERY = 4
"""Pixels between those that raiha-s's loss is taken on: the transforms are smooth."""

OUTLINE = 0.02
"""Worth of finding the outline beside that of the colours."""


class Objective(Protocol):
    """One architecture's side of training."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        ...

    @property
    def input_size(self) -> int:
        """Side of the pictures that it is validated on."""
        ...

    def loss(self, model: nn.Module, batch: Triplets) -> Tensor:
        """Scalar loss of a batch; `model` is the prepared (perhaps distributed) twin of `self.model`."""
        ...

    def render(self, model: nn.Module, composite: Tensor, mask: Tensor) -> Tensor:
        """Harmonise a batch without references, for validation: `(B, 3, S, S)`, not clamped."""
        ...

    def save(self, model: nn.Module, path: Path, step: int) -> None:
        """Write weights that `load_model` reads."""
        ...


class RaihaSObjective:
    """`raiha-s`: the loss is taken on a grid of pixels."""

    def __init__(self, config: TrainConfig):
        self.model = RaihaS(**config.model).to(memory_format=torch.channels_last)
        if config.backbone:
            _load_backbone(self.model, Path(config.backbone))
        if config.start:
            _start_from(self.model, Path(config.start))
        self.input_size = self.model.input_size

    def loss(self, model: nn.Module, batch: Triplets) -> Tensor:
        """See `Objective.loss`; local bends are paid for, so that they are used where they help, and the belief is taught too."""
        # Half as fast again on CPUs and GPUs where channels come last.
        shown = batch.composite.contiguous(memory_format=torch.channels_last)
        out = model(shown, batch.mask, batch.references)
        # Pixels on a grid with a random origin; what is blended by a soft mask should be right before it is blended.
        step = EVERY
        top, left = torch.randint(step, (2,)).tolist()
        composite, mask, real, cut = (x[..., top::step, left::step] for x in (batch.composite, batch.mask, batch.real, batch.cut))
        matrix = sample_map(out.matrix, batch.composite.shape[-1], step, top, left)
        result = apply_affine(composite, matrix)
        weight = seen_weight(cut, mask)
        bend = (out.matrix - out.overall).square().mean()
        changed = (foreground_mse(composite * cut, real * cut, cut, 100 / step**2) > 20 / 255**2).to(out.touched.dtype)
        belief = F.binary_cross_entropy_with_logits(out.touched, changed)
        loss: Tensor = harmonisation_loss(result, real, cut, weight, 100 / step**2) + 0.02 * bend + 0.05 * belief
        return loss + OUTLINE * outline_loss(out.outline, batch.cut)

    def render(self, model: nn.Module, composite: Tensor, mask: Tensor) -> Tensor:
        """See `Objective.render`."""
        return self.model.render(model(composite, shown_mask(mask)), composite, mask)

    def save(self, model: nn.Module, path: Path, step: int) -> None:
        """See `Objective.save`."""
        assert isinstance(model, RaihaS)
        save_model(model, path, step=str(step))


class OutlineObjective:
    """The outline of `raiha-s` alone, a fortieth of it; what is saved is the whole."""

    def __init__(self, config: TrainConfig):
        self._whole = RaihaSObjective(config).model.eval()
        self.input_size = self._whole.input_size
        self.model = copy.deepcopy(self._whole.outline)

    def loss(self, model: nn.Module, batch: Triplets) -> Tensor:
        """See `Objective.loss`."""
        return outline_loss(model(batch.composite, batch.mask), batch.cut)

    def render(self, model: nn.Module, composite: Tensor, mask: Tensor) -> Tensor:
        """See `Objective.render`."""
        whole = self._whole_with(model).to(composite.device)
        return whole.render(whole(composite, shown_mask(mask)), composite, mask)

    def save(self, model: nn.Module, path: Path, step: int) -> None:
        """See `Objective.save`."""
        save_model(self._whole_with(model), path, step=str(step))

    def _whole_with(self, outline: nn.Module) -> RaihaS:
        self._whole.outline.load_state_dict(outline.state_dict())
        return self._whole


class RHNetObjective:
    """`rhnet`: the paper's loss on its pixels; the content prior is frozen and computed outside of the network's graph."""

    def __init__(self, config: TrainConfig):
        self.model = RHNet(**config.model)
        self.input_size = self.model.input_size
        if self.model.prior is not None:
            self.model.prior.requires_grad_(False)
        if config.start:
            _start_from(self.model, Path(config.start))

    def _forward(self, model: nn.Module, composite: Tensor, mask: Tensor, references: Tensor | None) -> Tensor:
        binary = (mask > 0.5).to(mask.dtype)
        content_references = None
        with torch.no_grad():
            content = self.model.encode_content(composite)
            if references is not None:
                flat = self.model.encode_content(references.flatten(0, 1))
                content_references = None if flat is None else flat.unflatten(0, references.shape[:2])
        output = model(composite * 2 - 1, binary, content, None if references is None else references * 2 - 1, content_references)
        return self.model.render(output, composite, mask)

    def loss(self, model: nn.Module, batch: Triplets) -> Tensor:
        """See `Objective.loss`: foreground-normalised squared error in the network's units, [-1, 1]."""
        result = self._forward(model, batch.composite, batch.mask, batch.references)
        return foreground_mse(result * 2, batch.real * 2, batch.mask).mean()

    def render(self, model: nn.Module, composite: Tensor, mask: Tensor) -> Tensor:
        """See `Objective.render`."""
        return self._forward(model, composite, mask, None)

    def save(self, model: nn.Module, path: Path, step: int) -> None:
        """See `Objective.save`."""
        assert isinstance(model, RHNet)
        save_model(model, path, step=str(step))


def _load_backbone(model: RaihaS, path: Path) -> None:
    try:
        state = {k.removeprefix("backbone."): v for k, v in load_file(path).items() if k.startswith("backbone.")}
        model.backbone.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError):
        raise RaihaError(
            f"{path} holds no backbone of raiha-s; give weights of raiha-s, or what scripts/distill_backbone.py writes."
        ) from None


def _start_from(model: nn.Module, path: Path) -> None:
    """Load weights to go on from; layers that they lack keep their fresh start, which the log names."""
    try:
        missing, unexpected = model.load_state_dict(load_file(path), strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise RaihaError(
            f"Training cannot start from {path} ({str(error).splitlines()[0]}); give weights of the same architecture."
        ) from None
    if unexpected:
        raise RaihaError(f"Training cannot start from {path}: it holds {unexpected[0]}, which this model has not.")
    if missing:
        log.info("Not in %s, so trained from nothing: %s", path, ", ".join(sorted({".".join(m.split(".")[:2]) for m in missing})))


def objective_for(config: TrainConfig) -> Objective:
    """The objective of the config's architecture.

    Raises:
        RaihaError: the architecture is not known.
    """
    if config.architecture == "raiha-s":
        return OutlineObjective(config) if config.learns == "outline" else RaihaSObjective(config)
    if config.architecture == "rhnet":
        return RHNetObjective(config)
    raise RaihaError(f"The architecture {config.architecture!r} cannot be trained; use raiha-s or rhnet.")
