"""What every harmonisation model is, and what it gives back.

A model sees a small square picture of the composite and predicts a *colour transform*, never pixels of
the final image: `raiha_core.harmonize` applies the transform to the original pixels at any resolution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

Strips: TypeAlias = Callable[[Tensor, Tensor, slice], Tensor]
"""A transform of strips: colours `(1, 3, h, w)`, where their rows lie `(h,)`, and which of the picture's columns they are."""


class ColorTransform(ABC):
    """A map from colours to colours that varies smoothly over a picture.

    It is defined on the unit square of the picture that the model saw (x to the right, y down), so the
    same transform serves any resolution.
    """

    @abstractmethod
    def __call__(self, rgb: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Transform the colours of a rectangle of pixels.

        Args:
            rgb: colours `(1, 3, h, w)`, sRGB, nominal range [0, 1]; values outside are allowed.
            x: `(w,)`, where the columns lie, in [0, 1] of the model's picture; positions outside take the border's transform.
            y: `(h,)`, where the rows lie.

        Returns:
            `(1, 3, h, w)` float32, not clamped.
        """

    def along(self, x: Tensor, white: float = 1.0) -> Strips:
        """The transform made ready for many strips of one picture.

        Args:
            x: as for `__call__`, of all its columns.
            white: the value of white in the colours to come.
        """
        if white == 1:
            return lambda rgb, y, columns: self(rgb, x[columns], y)
        return lambda rgb, y, columns: self(rgb / white, x[columns], y) * white

    @abstractmethod
    def to(self, device: torch.device | str) -> ColorTransform:
        """The same transform with its tensors on `device`."""


@dataclass(frozen=True)
class AffineMap(ColorTransform):
    """One affine colour transform per cell, interpolated bilinearly in between.

    Attributes:
        matrix: `(12, h, w)` float32; rows of the 3 x 4 matrix in order, so that
            `out_r = m[0] r + m[1] g + m[2] b + m[3]` and so on. The identity is
            `[1,0,0,0, 0,1,0,0, 0,0,1,0]`.
    """

    matrix: Tensor

    def __call__(self, rgb: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """See `ColorTransform.__call__`."""
        _, rows, columns = self.matrix.shape
        # Bilinear interpolation is separable: two small matrix products instead of a 12-channel resampling.
        by_row = torch.einsum("hr,crw->chw", _weights(y.to(self.matrix), rows), self.matrix)
        return apply_affine(rgb, (by_row @ _weights(x.to(self.matrix), columns).T)[None])

    def along(self, x: Tensor, white: float = 1.0) -> Strips:
        """See `ColorTransform.along`; on a CPU pixels between two rows of cells take two rows of transforms, and never twelve planes."""
        if self.matrix.device.type != "cpu":
            return super().along(x, white)
        across = self.across(x, white)[:, :, :, None]  # (rows, 4, 3, 1, w)

        def strip(rgb: Tensor, y: Tensor, part: slice) -> Tensor:
            above, beyond = self.between(y)
            cells, counts = above.unique_consecutive(return_counts=True)
            moved, end = torch.empty_like(rgb), 0
            for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
                start, end = end, end + count
                planes = rgb[:, :, None, start:end].unbind(1)
                here = across[cell, ..., part]
                near = _mixed(here.unbind(), planes)
                slope = _mixed((across[min(cell + 1, len(across) - 1), ..., part] - here).unbind(), planes)
                torch.addcmul(near, slope, beyond[start:end, None], out=moved[:, :, start:end])
            return moved

        return strip

    def across(self, x: Tensor, white: float) -> Tensor:
        """For columns that lie at `x` `(w,)` what red, green, blue and 1 are multiplied by, `(rows, 4, 3, w)`: the 3 are the result's
        channels."""
        _, rows, columns = self.matrix.shape
        by_colour = self.matrix.reshape(3, 4, rows, columns).permute(2, 1, 0, 3).flatten(0, 2)
        across = (by_colour @ _weights(x.to(self.matrix), columns).T).reshape(rows, 4, 3, -1)
        across[:, 3] *= white
        return across

    def between(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """For rows that lie at `y` `(h,)` the row of cells above, `(h,)` int64, and how far they lie beyond its centre, in cells."""
        rows = self.matrix.shape[1]
        at = (y.to(self.matrix) * rows - 0.5).clamp(0, rows - 1)
        cell = at.long().clamp_max(max(0, rows - 2))
        return cell, at - cell

    def to(self, device: torch.device | str) -> AffineMap:
        """See `ColorTransform.to`."""
        return AffineMap(self.matrix.to(device))


def _mixed(by: Sequence[Tensor], planes: Sequence[Tensor]) -> Tensor:
    """Colours `(B, 3, h, w)` from planes `(B, 1, h, w)`, each times its `(3, 1, w)`, and a shift of that shape."""
    return torch.addcmul(by[3], by[0], planes[0]).addcmul_(by[1], planes[1]).addcmul_(by[2], planes[2])


def _weights(position: Tensor, cells: int) -> Tensor:
    """Linear interpolation as a matrix `(n, cells)`; cell centres lie at (i + 0.5) / cells, as pooled tokens do."""
    at = (position * cells - 0.5).clamp(0, cells - 1)
    return (1 - (at[:, None] - torch.arange(cells, device=at.device, dtype=at.dtype)).abs()).clamp_min(0)


def sample_map(matrix: Tensor, size: int, step: int = 1, top: int = 0, left: int = 0) -> Tensor:
    """Maps of transforms at pixels on a grid, bilinear, by two small matrix products.

    Args:
        matrix: `(B, C, h, w)`.
        size: side of the square picture in pixels.
        step: pixels between those of the grid.
        top, left: the grid's first row and column.

    Returns:
        `(B, C, n, m)`.
    """
    pixels = torch.arange(size, device=matrix.device, dtype=matrix.dtype)
    rows = _weights((pixels[top::step] + 0.5) / size, matrix.shape[-2])
    columns = _weights((pixels[left::step] + 0.5) / size, matrix.shape[-1])
    return rows @ matrix @ columns.T


def apply_affine(rgb: Tensor, matrix: Tensor) -> Tensor:
    """Apply per-pixel affine colour transforms.

    Args:
        rgb: `(B, 3, h, w)`.
        matrix: `(B, 12, h, w)`, or `(B, 12, 1, 1)` for one transform per picture; layout as in `AffineMap`.

    Returns:
        `(B, 3, h, w)`.
    """
    # unbind, not slices: their gradients would each be as large as the matrix.
    by_r, by_g, by_b, shift = matrix.unflatten(1, (3, 4)).unbind(2)
    r, g, b = rgb[:, 0:1], rgb[:, 1:2], rgb[:, 2:3]
    moved: Tensor = by_r * r + by_g * g + by_b * b + shift
    return moved


@dataclass(frozen=True)
class Attention:
    """Where each foreground token of one composite looked.

    Panel 0 is the composite, panels 1.. are the references, all with the same token grid. Foreground
    tokens of the composite are never keys: their weight is 0.

    Attributes:
        weights: `(Q, P * h * w)` float32 >= 0, each row sums to 1; keys are panel-major, then row-major.
        queries: `(Q,)` int64, flat row-major token indices of the foreground in the composite.
        grid: (h, w), tokens per panel.
        panels: P = 1 + number of references.
    """

    weights: Tensor
    queries: Tensor
    grid: tuple[int, int]
    panels: int

    def summed(self) -> Tensor:
        """The map the paper shows: weights summed over the queries, `(P, h, w)`."""
        return self.weights.sum(0).reshape(self.panels, *self.grid)

    def of(self, row: int, column: int) -> Tensor:
        """Where one token looked, `(P, h, w)`; the nearest foreground token if that one is background."""
        h, w = self.grid
        qy, qx = self.queries // w, self.queries % w
        nearest = ((qy - row) ** 2 + (qx - column) ** 2).argmin()
        return self.weights[nearest].reshape(self.panels, h, w)


@dataclass(frozen=True)
class Prediction:
    """What a model says about one composite: the colour transform, and where it looked (None if not asked)."""

    transform: ColorTransform
    attention: Attention | None = None


class HarmonizationModel(nn.Module, ABC):
    """The protocol behind which `raiha-s` and `rhnet` stand.

    Class attributes:
        architecture: short name, also the value of the `architecture` metadata key in the safetensors file.
        input_size: side in pixels of the square picture `predict` wants.
        crops: whether the picture should be a crop around the foreground (True) or the whole frame (False).
    """

    architecture: ClassVar[str]
    input_size: int
    crops: bool

    @abstractmethod
    def predict(
        self,
        composite: Tensor,
        mask: Tensor,
        references: list[Tensor] | None = None,
        *,
        attention: bool = False,
        caution: float | None = None,
    ) -> Prediction:
        """Predict the colour transform of one composite's foreground.

        Args:
            composite: `(1, 3, S, S)` float32 sRGB, S = `input_size`.
            mask: `(1, 1, S, S)` in [0, 1], 1 = foreground.
            references: pictures `(1, 3, S, S)`, any number, or None.
            attention: also return where the foreground looked.
            caution: 0 proposes everything, up to 1 less and less of what the model doubts; None takes the model's own. Models that
                do not doubt take no notice.
        """

    def predict_batch(
        self, composites: Tensor, masks: Tensor, references: list[Tensor] | None = None, **options: Any
    ) -> list[ColorTransform]:
        """Predict the colour transforms of several composites, which share their references; models that can do them at once do so.

        Args:
            composites: `(B, 3, S, S)`.
            masks: `(B, 1, S, S)`.
            references: as for `predict`.
            options: of `predict`.
        """
        return [
            self.predict(composite[None], mask[None], references, **options).transform
            for composite, mask in zip(composites, masks, strict=True)
        ]

    def config(self) -> dict[str, Any]:
        """Constructor arguments, JSON-serialisable; stored in the checkpoint's metadata."""
        return {}
