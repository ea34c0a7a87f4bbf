"""Pictures: files, depth, masks, crops, colour spaces."""

from ..atomic import atomically
from ..suffixes import READABLE, WRITABLE
from .crop import Box, bounding_box, crop_box, shrink
from .files import from_pil, read_image
from .masks import Mask, NotedMask, alpha_mask, fit_mask, fit_noted_mask, mask_from, mask_of, read_mask
from .picture import Picture, from_array, full_scale, to_8_bit
from .write import check_output, write_image

__all__ = [
    "READABLE",
    "WRITABLE",
    "Box",
    "Mask",
    "NotedMask",
    "Picture",
    "alpha_mask",
    "atomically",
    "bounding_box",
    "check_output",
    "crop_box",
    "fit_mask",
    "fit_noted_mask",
    "from_array",
    "from_pil",
    "full_scale",
    "mask_from",
    "mask_of",
    "read_image",
    "read_mask",
    "shrink",
    "to_8_bit",
    "write_image",
]
