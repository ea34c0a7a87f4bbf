"""A tiny deterministic encoder and small galleries made of it."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from raiha_core.content.base import ContentEncoder, ContentFeatures
from raiha_core.references import ReferenceIndex

SHAPES = ("disc", "stripes", "checks", "cross")


class TinyEncoder(ContentEncoder):
    """Spectrum of the normalised luminance (wherever things stand) and how edges run, projected at random."""

    def __init__(self, name: str = "tiny", seed: int = 0, dim: int = 32):
        self.id = name
        self.weights_hash = f"seed{seed}"
        self.dim = dim
        self.projection = torch.randn(16 * 9 + 8, dim, generator=torch.Generator().manual_seed(seed))

    def encode(self, images: Tensor) -> ContentFeatures:
        grey = F.interpolate(images.mean(1, keepdim=True), (32, 32), mode="bilinear", antialias=True, align_corners=False)
        grey = grey - grey.mean((2, 3), keepdim=True)
        grey = grey / (grey.std((2, 3), keepdim=True) + 1e-3)
        spectrum = torch.fft.rfft2(grey).abs()
        folded = F.adaptive_avg_pool2d((1 + spectrum[..., 1:]).log(), (16, 9)).flatten(1)
        dx, dy = grey.diff(dim=3)[:, :, 1:], grey.diff(dim=2)[..., 1:]
        strong = torch.hypot(dx, dy)
        angle = torch.atan2(dy, dx) % torch.pi / torch.pi * 8
        edges = torch.stack([(strong * (angle.long() == i)).mean((1, 2, 3)) for i in range(8)], 1)
        features = torch.cat([folded - folded.mean(1, keepdim=True), 4 * F.normalize(edges, dim=1)], 1)
        return ContentFeatures(F.normalize(features @ self.projection, dim=1), F.adaptive_avg_pool2d(grey, 4))


def draw(kind: str, seed: int, size: tuple[int, int] = (120, 90), light: float = 1.0, warmth: float = 1.0) -> np.ndarray:
    """A textured picture `(H, W, 3)` float in [0, 1] with one shape, under a light of some strength and colour."""
    rng = np.random.default_rng(seed)
    w, h = size
    y, x = np.mgrid[0:h, 0:w] / min(w, h)
    coarse = Image.fromarray((rng.random((12, 16)) * 255).astype(np.uint8)).resize((w, h), Image.Resampling.BICUBIC)
    picture = 0.35 + 0.3 * (np.asarray(coarse, np.float32) / 255 - 0.5)[..., None] * rng.uniform(0.5, 1, 3)
    cx, cy, r = rng.uniform(0.4, 0.8), rng.uniform(0.35, 0.65), rng.uniform(0.2, 0.3)
    inside = (abs(x - cx) < r) & (abs(y - cy) < r)
    pattern = {
        "disc": (x - cx) ** 2 + (y - cy) ** 2 < r * r,
        "stripes": np.sin(x * 60) > 0,
        "checks": np.sin(x * 40) * np.sin(y * 40) > 0,
        "cross": (abs(x - cx) < r / 4) | (abs(y - cy) < r / 4),
    }[kind]
    picture[inside & pattern] = rng.uniform(0.6, 0.9, 3)
    tint = np.array([warmth, 1.0, 1.0 / warmth])
    return np.clip(picture * light * tint, 0, 1)


def save(path: Path, picture: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(path, **options)
    return path


def fill(folder: Path, count: int, first: int = 0) -> list[Path]:
    """A gallery of different pictures, shapes by turns, some in a subfolder."""
    paths = []
    for i in range(first, first + count):
        kind = SHAPES[i % len(SHAPES)]
        place = folder / ("sub" if i % 3 == 2 else "") / f"{kind}{i:04d}.png"
        paths.append(save(place, draw(kind, i, light=0.5 + 0.25 * (i % 3))))
    return paths


@pytest.fixture
def encoder() -> TinyEncoder:
    return TinyEncoder()


@pytest.fixture
def make_encoder() -> type[TinyEncoder]:
    return TinyEncoder


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    fill(tmp_path / "photos", 24)
    return tmp_path / "photos"


@pytest.fixture
def fill_gallery() -> Callable[..., list[Path]]:
    return fill


@pytest.fixture
def draw_picture() -> Callable[..., np.ndarray]:
    return draw


@pytest.fixture
def save_picture() -> Callable[..., Path]:
    return save


@pytest.fixture
def query() -> tuple[Tensor, Tensor]:
    """A composite that shows stripes, and the mask of its middle."""
    composite = torch.from_numpy(draw("stripes", 991)).float().permute(2, 0, 1)[None]
    mask = torch.zeros(1, 1, *composite.shape[-2:])
    mask[..., 20:70, 30:90] = 1
    return composite, mask


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a PostgreSQL with pgvector: the one that RAIHA_TEST_PGVECTOR names, or one started here if pgserver is installed."""
    lacking = [name for name in ("psycopg", "pgvector") if importlib.util.find_spec(name) is None]
    if lacking:
        pytest.skip(f"{' and '.join(lacking)} not installed: pip install 'raiha[pgvector]'")
    if os.environ.get("RAIHA_TEST_PGVECTOR"):
        yield os.environ["RAIHA_TEST_PGVECTOR"]
        return
    pgserver = pytest.importorskip("pgserver", reason="no server: set RAIHA_TEST_PGVECTOR, or pip install pgserver")
    with tempfile.TemporaryDirectory(prefix="raiha-postgres-") as folder:
        os.chmod(folder, 0o755)  # For root it runs under a user of its own.
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server.get_uri().replace(":@", "@")  # It says an empty password.
        server.cleanup()


@pytest.fixture
def index(tmp_path: Path, gallery: Path, encoder: ContentEncoder) -> Iterator[ReferenceIndex]:
    """The gallery's index."""
    with ReferenceIndex.build(gallery, tmp_path / "x.index", encoder) as built:
        yield built
