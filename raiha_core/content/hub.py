"""Weights from the Hugging Face hub's cache, and downloads only where the user asked for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import RaihaError

log = logging.getLogger("raiha_core.content")


class NotHereError(RaihaError):
    """Weights are not on this machine, and a download was not asked for."""


def cached(repo: str, names: Sequence[str]) -> Path | None:
    """The first of these files of a hub repository that lies in the library's cache; never asks the network."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        found = try_to_load_from_cache(repo, name)
        if isinstance(found, str):
            return Path(found)
    return None


def fetch(encoder: str, source: str, download: bool, get: Callable[[], str]) -> Path:
    """Download an encoder's weights that are not in the cache, saying so; the hub's cache resumes a broken download.

    Args:
        encoder: the name that the user gave.
        source: where the weights come from, for messages.
        download: whether the user chose this download.
        get: downloads and returns the file.

    Raises:
        NotHereError: not chosen.
        RaihaError: the download failed.
    """
    if not download:
        raise NotHereError(
            f"The weights of {encoder} are not on this machine and are not downloaded unasked; name a local file"
            f" ({encoder.split('/')[0]}@FILE) or load the encoder once by its name."
        )
    log.warning("downloading the weights of %s from %s, as asked; they are kept in the library's cache", encoder, source)
    try:
        return Path(get())
    except Exception as error:  # the network libraries below raise a dozen unrelated kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise RaihaError(
            f"The weights of {encoder} could not be downloaded from {source} ({reason}); check the connection or name a local file."
        ) from None
