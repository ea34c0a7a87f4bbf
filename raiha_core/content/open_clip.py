"""`open_clip:MODEL/TAG`: image towers of open_clip as content encoders (Radford et al., 2021; Ilharco et al., 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checkpoint import digest
from ..errors import RaihaError
from . import hub
from .base import ContentEncoder, ContentFeatures


class OpenClipEncoder(ContentEncoder):
    """The image tower of a CLIP model: its embedding is the vector, its last block's patch tokens are the map.

    Args:
        clip: an open_clip model; only its image tower is kept.
        name: what the user calls it.
        weights_hash: see `ContentEncoder`.
        device: where to put it.
    """

    def __init__(self, clip: Any, name: str, weights_hash: str, device: torch.device | str = "cpu"):
        from open_clip import get_model_preprocess_cfg  # type: ignore[import-untyped]

        self.net = clip.visual.eval().requires_grad_(False).to(device)
        self.id = name
        self.weights_hash = weights_hash
        self.device = torch.device(device)
        preprocess = get_model_preprocess_cfg(clip)
        size = preprocess["size"]
        self.size: tuple[int, int] = (size, size) if isinstance(size, int) else (size[-2], size[-1])
        self.mean, self.std = (torch.tensor(preprocess[key], device=device)[:, None, None] for key in ("mean", "std"))
        with torch.inference_mode():
            self.dim = int(self.net(torch.zeros(1, 3, *self.size, device=device)).shape[1])

    @classmethod
    def load(
        cls, model: str, tag: str | None = None, path: Path | None = None, device: torch.device | str = "cpu", download: bool = True
    ) -> OpenClipEncoder:
        """Load by open_clip's names, from a file, a folder or the library's cache.

        Args:
            model: open_clip's name of the architecture, for example `ViT-B-32`; empty for a folder.
            tag: open_clip's name of the weights, for example `laion2b_s34b_b79k`.
            path: instead of a tag, a local `.safetensors`, `.pt` or `.bin` file; or, without a model, a folder that holds
                `open_clip_config.json` and weights.
            device: where to put it.
            download: whether missing weights may be downloaded, which is announced.

        Raises:
            RaihaError: open_clip is missing; unknown names; a file that is missing, broken, hostile or of another model; a
                download that failed or was not chosen.
        """
        try:
            import open_clip
        except ImportError:
            raise RaihaError("Encoders named open_clip: need open_clip: install it with `pip install open_clip_torch`.") from None
        options: dict[str, Any] = {}
        if path is not None and path.is_dir() and not model:
            name, source, file, weights = f"open_clip:@{path.resolve()}", f"local-dir:{path}", _weights_in(path), None
        else:
            if model.replace("/", "-") not in open_clip.list_models():
                raise RaihaError(f"open_clip has no model named {model!r}; use for example ViT-B-32, or open_clip:@FOLDER.")
            source = model
            if path is not None:
                if not path.is_file():
                    raise RaihaError(f"The weights {path} of open_clip:{model} do not exist; check the path.")
                name, file = f"open_clip:{model}@{path.resolve()}", path
            else:
                config = open_clip.get_pretrained_cfg(model, tag or "")
                if not config:
                    tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)[:12])
                    raise RaihaError(f"open_clip has no weights {tag!r} for {model}; use one of: {tags or 'none published'}.")
                name, file = f"open_clip:{model}/{tag}", _locate(f"open_clip:{model}/{tag}", config, download)
                options = {"force_quick_gelu": bool(config.get("quick_gelu"))}
                options["force_preprocess_cfg"] = {k: config[k] for k in ("mean", "std") if k in config}
            weights = str(file)
        try:
            clip = open_clip.create_model(source, pretrained=weights, pretrained_image=False, pretrained_text=False, **options)
        except Exception as error:  # parsing a stranger's file: any kind may come, hostile pickles included
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise RaihaError(
                f"{file} does not hold plain weights of {model or 'its own configuration'} ({reason}); give another file."
            ) from None
        return cls(clip, name, digest(file), device)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> ContentFeatures:
        """See `ContentEncoder.encode`."""
        x = images.to(self.device, torch.float32).clamp(0, 1)
        x = F.interpolate(x, size=self.size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        found = self.net.forward_intermediates((x - self.mean) / self.std, indices=1)
        return ContentFeatures(F.normalize(found["image_features"].float(), dim=1), found["image_intermediates"][-1].float())


def _weights_in(folder: Path) -> Path:
    """The weights beside `open_clip_config.json`."""
    found = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".pt", ".bin"))
    if not found or not (folder / "open_clip_config.json").is_file():
        raise RaihaError(f"The folder {folder} lacks open_clip_config.json or weights; give a folder saved by open_clip.")
    return found[0]


def _locate(name: str, config: dict[str, Any], download: bool) -> Path:
    """The file with a tag's weights, in the libraries' caches or downloaded by open_clip."""
    import open_clip
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME  # type: ignore[import-untyped]

    where = config.get("hf_hub") or config.get("url", "")
    if config.get("hf_hub"):
        repo, _, file = config["hf_hub"].rpartition("/")
        found = hub.cached(repo, [file] if file else [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME])
    else:
        found = Path("~/.cache/clip").expanduser() / where.rpartition("/")[2]
        found = found if found.is_file() else None
    return found or hub.fetch(name, where.rstrip("/"), download, lambda: str(open_clip.download_pretrained(config)))
