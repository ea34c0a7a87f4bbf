"""A twin of a network that predicts faster: norms folded into their convolutions, channels last.

What it gives differs from the network's own answer by rounding. Training, and whatever wants gradients, takes the network itself.
"""

from __future__ import annotations

import copy
import itertools
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .backbone import ConvNorm

M = TypeVar("M", bound=nn.Module)
_State = list[tuple[Tensor, int, int]]
_twins: WeakKeyDictionary[nn.Module, tuple[_State, nn.Module]] = WeakKeyDictionary()


def folded(model: M) -> M:
    """The twin of a network in evaluation mode; made once, and again when the weights were changed, replaced or moved."""
    state = _state(model)
    kept = _twins.get(model)
    if kept is not None and _same(kept[0], state):
        assert isinstance(kept[1], type(model))
        return kept[1]
    with torch.inference_mode(False), torch.no_grad():
        twin = _folded(model)
    _twins[model] = (state, twin)
    return twin


def _state(model: nn.Module) -> _State:
    """All weights and buffers, where their values lie, and how often they were written to."""
    every = itertools.chain(model.parameters(), model.buffers())
    return [(t, t.data_ptr(), 0 if t.is_inference() else t._version) for t in every]


def _same(a: _State, b: _State) -> bool:
    return len(a) == len(b) and all(x[0] is y[0] and x[1:] == y[1:] for x, y in zip(a, b, strict=True))


def _folded(model: M) -> M:
    # Only the modules are copied; tensors that are not folded stay those of the network.
    shared = {id(t): t for t in itertools.chain(model.parameters(), model.buffers())}
    twin = copy.deepcopy(model, shared)  # type: ignore[arg-type]
    for module in twin.modules():
        if isinstance(module, ConvNorm):
            convolution, norm = module[0], module[1]
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            module[0], module[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    for module in twin.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach().contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(weight, requires_grad=False)
    return twin.eval()
