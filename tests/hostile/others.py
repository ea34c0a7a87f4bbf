"""Hostile checkpoints, indexes, masks, arguments of the Python API and command lines, each from a seed."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from raiha_core.image import Picture, from_array
from raiha_core.models import RaihaS, RHNet


class Runs:
    """What a pickle must never get done: makes a file beside the checkpoint."""

    def __init__(self, witness: str):
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.witness, "w")


_RUBBISH: list[Any] = [0, -1, None, "a", 1e9, 10**12, True, [], {}, float("nan"), 250, ""]


def checkpoint(seed: int, folder: Path) -> tuple[Path, Path]:
    """A checkpoint file, and the witness that exists if it ran code."""
    rng = random.Random(seed)
    torch.manual_seed(seed % 2**31)
    path, witness = folder / rng.choice(["x.safetensors", "x.pth"]), folder / "ran"
    model = rng.choice([lambda: RaihaS(), lambda: RHNet(ngf=2, content_channels=0)])()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    config: Any = model.config()
    kind = rng.choice(["sound", "values", "values", "config", "config", "version", "shapes", "keys", "bytes", "bytes", "pickle"])
    floats = [k for k, v in state.items() if v.is_floating_point() and v.numel()]
    if kind == "values":
        for name in rng.sample(floats, rng.choice([1, 3, len(floats)])):
            flat = state[name].reshape(-1)
            flat[rng.randrange(len(flat))] = rng.choice([float("nan"), float("inf"), -float("inf"), 1e30, 1e5])
    elif kind == "config":
        config[rng.choice([*config, "other", "input_size"])] = rng.choice(_RUBBISH)
    elif kind == "shapes":
        name = rng.choice(floats)
        state[name] = rng.choice([state[name].reshape(-1), state[name][:0], state[name].double(), torch.zeros(3, 3)])
    elif kind == "keys":
        for name in rng.sample(list(state), rng.randint(1, 5)):
            del state[name]
        state["more"] = torch.zeros(2)
    text = rng.choice(["{", "[1]", json.dumps(config)]) if kind == "config" else json.dumps(config)
    metadata = {
        "architecture": model.architecture,
        "config": text,
        "format": rng.choice(["2", "x", "", "-1"]) if kind == "version" else "1",
    }
    if path.suffix == ".safetensors" and kind != "pickle":
        save_file({k: v.contiguous() for k, v in state.items()}, path, metadata=metadata)
    elif kind == "pickle":
        path = folder / "x.pth"
        path.write_bytes(pickle.dumps(rng.choice([Runs(str(witness)), {"state_dict": Runs(str(witness))}, [1], {1: 2}])))
    else:
        torch.save(rng.choice([state, {"state_dict": state}]), path)
    if kind == "bytes":
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 5, 50])):
            data[rng.randrange(min(len(data), rng.choice([64, len(data)])))] = rng.randrange(256)
        path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
    return path, witness


def damage(seed: int, index: Path, folder: Path) -> Path:
    """A copy of a reference index with one of its files damaged, emptied, cut or taken away."""
    rng = random.Random(seed)
    copy = folder / "index"
    shutil.copytree(index, copy)
    file = rng.choice(sorted(p for p in copy.rglob("*") if p.is_file()))
    data = bytearray(file.read_bytes())
    how = rng.choice(["flip", "flip", "cut", "empty", "gone", "rubbish"])
    if how == "gone":
        file.unlink()
        return copy
    if how == "flip" and data:
        for _ in range(rng.choice([1, 5, 50])):
            data[rng.randrange(len(data))] = rng.randrange(256)
    changed = {"cut": bytes(data[: rng.randrange(len(data) + 1)]), "empty": b"", "rubbish": rng.randbytes(300)}.get(how, bytes(data))
    file.write_bytes(changed)
    return copy


def _anything(rng: random.Random, shape: tuple[int, int]) -> Any:
    """A thing that somebody may hand over as a picture or mask."""
    h, w = shape
    noise = np.random.default_rng(rng.randrange(2**32))
    array = noise.random((h, w, rng.choice([1, 2, 3, 3, 3, 4, 5])))
    dtype = rng.choice(["u1", "u2", "f2", "f4", "f8", "i2", "i8", "?", "c8"])
    plain = (array * rng.choice([1, 1, 255, -1, 1e6])).astype(dtype)
    return rng.choice(
        [
            lambda: plain,
            lambda: plain,
            lambda: plain[..., 0],
            lambda: torch.from_numpy(array).permute(2, 0, 1),
            lambda: torch.from_numpy(array).permute(2, 0, 1)[None].half(),
            lambda: torch.from_numpy(array).permute(2, 0, 1).to_sparse(),
            lambda: torch.empty(3, h, w, device="meta"),
            lambda: Image.fromarray((array[..., 0] * 255).astype("u1")),
            lambda: Image.fromarray((array[..., 0] * 255).astype("u1")).convert(rng.choice(["1", "P", "CMYK", "LAB", "F", "I", "HSV"])),
            lambda: from_array((array[..., :1] * 255).astype("u1")),
            lambda: Picture(plain),
            lambda: rng.choice([None, 5, "none.png", b"", object(), [], {}, plain[:0], np.zeros(3), np.full((h, w, 3), np.nan)]),
        ]
    )()


def arguments(seed: int) -> dict[str, Any]:
    """Arguments for `Harmonizer.harmonize`."""
    rng = random.Random(seed)
    shape = (rng.randint(1, 40), rng.randint(1, 40))
    other = shape if rng.random() < 0.8 else (rng.randint(1, 40), rng.randint(1, 40))
    sound = (np.random.default_rng(seed).random((*shape, 3)) * 255).astype("u1")
    area = np.zeros(shape, "u1")
    area[: max(1, shape[0] // 2)] = rng.choice([1, 15, 255])
    return {
        "composite": sound if rng.random() < 0.4 else _anything(rng, shape),
        "mask": area if rng.random() < 0.5 else _anything(rng, other),
        "references": rng.choice([None, None, [], 5, "x", [sound], [_anything(rng, other)]]),
        "strength": rng.choice([1.0, 1.0, 0, 0.5, "1", None, float("nan"), -1, 7, True, 10**400, torch.empty((), device="meta")]),
        "attention": rng.random() < 0.3,
        "resize_mask": rng.random() < 0.3,
    }


def _names(rng: random.Random, folder: Path) -> list[str]:
    """Names for a place where a file or folder is wanted: sound ones, and what else may bear a name or none."""
    noise = np.random.default_rng(rng.randrange(2**32))
    area = np.zeros((24, 32), np.uint8)
    area[6:18, 8:24] = 255
    for name in ("c", "m"):
        (folder / name).mkdir()
    Image.fromarray(noise.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(folder / "a.png")
    Image.fromarray(area).save(folder / "mask.png")
    shutil.copyfile(folder / "a.png", folder / "c" / "a.png")
    shutil.copyfile(folder / "mask.png", folder / "m" / "a.png")
    (folder / "text.png").write_text("text")
    (folder / "nothing.png").touch()
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    sound = ["a.png", "mask.png", "c", "m", "out.png", "new"]
    odd = ["text.png", "nothing.png", "empty", "pipe.png", "circle.png", "gone.png", "none.png", "none/x.png", "a.png/x", "/dev/null", "",
           "*", "[", "c/*", "~nobody/x.png", "x" * 300 + ".png", "/".join(["d" * 200] * 30), "\udcff.png", "out.gif", "/proc/x.png",
           "clip.mp4", "x.safetensors"]  # fmt: skip
    return sound * 3 + odd


def command(seed: int, folder: Path, index: Path) -> list[str]:
    """Arguments of the command line, to be run in `folder`."""
    rng = random.Random(seed)
    names = _names(rng, folder)
    devices = ["cpu", "cuda:99", "meta", "hpu", "privateuseone", "warp", ""]
    numbers = ["0", "1", "0.5", "-1", "nan", "inf", "1e400", "x", "", "9" * 30]
    files = ["--references", "--attention", "--model", "--index"]
    options = {
        "harmonize": {**dict.fromkeys(files, names), "--device": devices, **dict.fromkeys(["--strength", "--caution", "--page"], numbers)},
        "transfer": {"--device": devices, "--strength": numbers},
        "retrieve": {"--sheet": names, "--gallery": names, "--device": devices, "--top-k": numbers, "--weight": numbers, "--pin": names},
        "index": {"--encoder": [*names, "embedded@x", "embedded@" + "x" * 300], "--device": devices},
        "convert": {"--denoiser": names, "--dinov2": names},
    }
    verb = rng.choice(list(options))
    given = [rng.choice(names) for _ in range(2)]
    if verb in ("harmonize", "transfer") and rng.random() < 0.5:  # else hardly any would come to its options
        given = rng.choice([["a.png", "mask.png"], ["c", "m"]]) if verb == "harmonize" else rng.choice([["a.png", "a.png"], ["c", "c"]])
    line = [verb, *given]
    if verb in ("harmonize", "transfer"):
        line += ["-o", rng.choice([*names, *["out.png", "new"] * 9])]
    if verb == "retrieve":
        line = [verb, *rng.choice([given, ["a.png", "mask.png"]]), "--index", rng.choice([str(index), str(index), rng.choice(names)])]
    if verb == "index":
        line = [verb, rng.choice(["build", "build", "update", "info", "verify"]), *given]
    for option in rng.sample(list(options[verb]), rng.choice([0, 1, 1, 2])):
        line += [option, rng.choice(options[verb][option])]
    return line
