"""Clips that do not flicker: one colour transform for all frames, that of one frame held, or transforms smoothed over time.

A transform that jumps from frame to frame is seen as flicker even where each frame looks right on its own.
"""

from .clip import Clip, Masks, Mode, Pictures, Way
from .mixing import average, common_box, flicker, smooth
from .opened import ClipMasks, VideoClip
from .run import harmonize_clip, rendered, transforms

__all__ = [
    "Clip",
    "ClipMasks",
    "Masks",
    "Mode",
    "Pictures",
    "VideoClip",
    "Way",
    "average",
    "common_box",
    "flicker",
    "harmonize_clip",
    "rendered",
    "smooth",
    "transforms",
]
