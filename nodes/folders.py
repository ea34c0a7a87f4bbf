"""The folders that the nodes may read and write, registered with ComfyUI, and the names in them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from ..raiha_core.errors import RaihaError
from ..raiha_core.models.registry import SHIPPED
from ..raiha_core.models.registry import SUFFIXES as MODEL_SUFFIXES
from ..raiha_core.references.manifest import exists as is_index
from ..raiha_core.references.photos import SUFFIXES
from .comfy import folder_paths
from .sentences import shown

PACK = Path(__file__).resolve().parent.parent
MODELS, INDEXES, GALLERIES = "raiha", "raiha_indexes", "raiha_galleries"
EXAMPLE = "example photos"
"""How the dropdown calls the gallery that ships with the pack."""

_DEPTH = 3
"""How deep galleries may lie in galleries."""

PHOTOS_OF, INDEX_OF = "photos: ", "index: "


def register() -> None:
    """Tell ComfyUI about `models/raiha` and what lies under it. `extra_model_paths.yaml` may add folders to each of the three."""
    base = Path(folder_paths.models_dir) / "raiha"
    for key, folder in ((MODELS, base), (INDEXES, base / "indexes"), (GALLERIES, base / "galleries")):
        folder_paths.add_model_folder_path(key, str(folder))


def _folders(key: str) -> list[Path]:
    return [Path(os.path.abspath(folder)) for folder in folder_paths.get_folder_paths(key)]


def _inside(key: str, name: str, what: str) -> Path:
    """The path of a name in the registered folders.

    Raises:
        RaihaError: the name leads out of them, or nothing of that name is there.
    """
    parts = Path(name.replace("\\", "/")).parts
    if not parts or ".." in parts or Path(name).is_absolute() or ":" in parts[0]:
        raise RaihaError(f"The {what} {shown(name)} is not a name under models/raiha; choose one from the list.")
    for folder in _folders(key):
        with contextlib.suppress(OSError):  # names that no file system takes
            if (folder / name).exists():
                return folder / name
    raise RaihaError(f"The {what} {shown(name)} is not there (any more); press R to refresh the lists and choose another.")


def _names(key: str) -> list[str]:
    found = {entry.name for folder in _folders(key) if folder.is_dir() for entry in folder.iterdir() if entry.is_dir()}
    return sorted(name for name in found if not name.startswith("."))


def _galleries() -> list[str]:
    """Names of the galleries: the folders in the registered ones, folders with photos in these, and registered folders with photos."""
    found = []
    for root in filter(Path.is_dir, _folders(GALLERIES)):
        found += [root.name] if _has_photos(root) else []
        found += _under(root, root, set(), _DEPTH)
    return sorted(set(found))


def _under(root: Path, folder: Path, seen: set[Path], depth: int) -> list[str]:
    """Folders in a folder, as names under `root`; links are followed, but not in circles."""
    real = folder.resolve()
    if depth == 0 or real in seen:
        return []
    seen.add(real)
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        found += [entry.relative_to(root).as_posix()] if folder == root or _has_photos(entry) else []
        try:
            found += _under(root, entry, seen, depth - 1)
        except OSError:  # a folder that may not be read hides nothing else
            continue
    return found


def _has_photos(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file() for entry in entries)


def model_names() -> list[str]:
    """The shipped models and the checkpoints in models/raiha."""
    files = {p.name for folder in _folders(MODELS) if folder.is_dir() for p in folder.iterdir() if p.suffix in MODEL_SUFFIXES}
    return [*SHIPPED, *sorted(files)]


def model_path(name: str) -> str | Path:
    """What `load_model` takes: a shipped name, or a file in models/raiha.

    Raises:
        RaihaError: no such file there.
    """
    return name if name in SHIPPED else _inside(MODELS, name, "model")


def sources() -> list[str]:
    """What a reference index can be loaded from: galleries with photos, and finished indexes."""
    indexes = [name for name in _names(INDEXES) if any(is_index(folder / name) for folder in _folders(INDEXES))]
    return [PHOTOS_OF + EXAMPLE, *(PHOTOS_OF + name for name in _galleries()), *(INDEX_OF + name for name in indexes)]


def gallery_path(source: str) -> Path:
    """The folder of a source that names photos.

    Raises:
        RaihaError: it is not among the registered ones.
    """
    name = source.removeprefix(PHOTOS_OF)
    if name == EXAMPLE:
        return PACK / "raiha_core" / "demo_data" / "gallery"
    try:
        return _inside(GALLERIES, name, "gallery")
    except RaihaError:
        # A registered folder that holds photos itself goes by its own name.
        for root in _folders(GALLERIES):
            if root.name == name and root.is_dir():
                return root
        raise


def index_path(source: str, encoder: str) -> Path:
    """Where the index of a source lies, or will lie; every encoder has its own.

    Raises:
        RaihaError: a finished index of that name is not there.
    """
    if source.startswith(INDEX_OF):
        return _inside(INDEXES, source.removeprefix(INDEX_OF), "index")
    name = source.removeprefix(PHOTOS_OF)
    suffix = "" if encoder == "embedded" else "-" + _digest(encoder)
    if "/" in name:  # one folder for each index, whatever folder its gallery lies in
        name = f"{name.replace('/', ' - ')}-{_digest(name)}"
    return _folders(INDEXES)[0] / (name + suffix)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def batch_folder(digest: str) -> Path:
    """Where photos that came over a wire lie, and beside them their indexes: ComfyUI's temporary folder, emptied when it starts."""
    return Path(folder_paths.get_temp_directory()) / "raiha" / "galleries" / digest


def index_key(directory: Path) -> str:
    """A name for an index folder that stays the same over restarts and says nothing about where it lies."""
    return hashlib.sha256(os.path.abspath(directory).encode()).hexdigest()[:12]


def index_of_key(key: str) -> Path | None:
    """The registered index with this key."""
    for folder in [*_folders(INDEXES), *batch_folder("-").parent.glob("*/indexes")]:
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            if is_index(entry) and index_key(entry) == key:
                return entry
    return None
