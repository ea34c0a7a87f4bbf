"""Distil the embedded content encoder from a teacher's features.

The teacher sees each photo as it is; the student sees crops, flips and strong colour changes of it and must say the
same, so that what it says depends on the content and not on the light. Relational knowledge is kept by matching the
teacher's features after PCA, dense and pooled.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ..content.embedded import DIM, EmbeddedNet
from .pack import build_pack
from .sources import crop

Teacher = Callable[[Tensor], Tensor]
"""`(B, 3, H, W)` in [0, 1] to a dense map `(B, C, h, w)`."""


def mobilenet_teacher(folder: Path) -> Teacher:
    """The MobileNetV2 in `folder/mobilenet_v2.safetensors`: its last 1280-channel map.

    The file holds `w0, b0, w1, b1, ...` with batch norm folded in, and the metadata key `meta`: (is depthwise, stride) of each
    convolution in order (Sandler et al., 2018). Only tensors are read; nothing of the folder is run.
    """
    with safe_open(folder / "mobilenet_v2.safetensors", "pt") as file:
        meta = json.loads(file.metadata()["meta"])
        weights = [file.get_tensor(f"w{i}").float() for i in range(len(meta))]
        biases = [file.get_tensor(f"b{i}").float() for i in range(len(meta))]

    def convolve(i: int, x: Tensor, clip: bool = True) -> Tensor:
        depthwise, stride = meta[i]
        if weights[i].shape[-1] == 3:  # padded as TensorFlow does
            x = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        y = F.conv2d(x, weights[i], biases[i], stride=stride, groups=len(weights[i]) if depthwise else 1)
        return y.clamp(0, 6) if clip else y

    @torch.inference_mode()
    def features(rgb: Tensor) -> Tensor:
        x = convolve(2, convolve(1, convolve(0, rgb * 2 - 1)), clip=False)
        # Then blocks of three: expand, filter, project; the last two convolutions are the wide map and the classifier.
        for i in range(3, len(meta) - 2, 3):
            y = convolve(i + 2, convolve(i + 1, convolve(i, x)), clip=False)
            x = x + y if y.shape == x.shape else y
        return convolve(len(meta) - 2, x)

    return features


def teacher_targets(photos: NDArray[np.uint8], teacher: Teacher, cache: Path, size: int = 224, batch: int = 32) -> Tensor:
    """PCA-reduced, whitened-to-unit-variance teacher maps, `(N, DIM, h, w)` float16."""
    if cache.is_file():
        return torch.from_numpy(np.load(cache, mmap_mode="r"))
    maps: list[Tensor] = []
    for start in range(0, len(photos), batch):
        x = torch.from_numpy(np.array(photos[start : start + batch])).permute(0, 3, 1, 2).float() / 255
        x = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
        maps.append(teacher(x.contiguous(memory_format=torch.channels_last)).half())
    dense = torch.cat(maps)
    pooled = dense.float().mean((2, 3))
    mean = pooled.mean(0)
    sample = (
        dense[torch.randperm(len(dense), generator=torch.Generator().manual_seed(0))[:2000]].float().permute(0, 2, 3, 1).flatten(0, 2)
        - mean
    )
    # Directions in which both whole pictures and places differ; whitening evens out the few loud ones.
    joint = torch.cat([pooled - mean, sample[:: max(1, len(sample) // len(pooled))]])
    _, s, v = torch.linalg.svd(joint, full_matrices=False)
    basis = v[:DIM].T
    basis = basis / (s[:DIM] / len(joint) ** 0.5).clamp_min(1e-6) ** 0.5
    out = torch.cat([torch.einsum("bchw,cd->bdhw", d.float() - mean[:, None, None], basis).half() for d in dense.split(256)])
    out = out / out.float().std()
    np.save(cache, out.half().numpy())
    return out.half()


def random_colours(x: Tensor, generator: torch.Generator) -> Tensor:
    """A strong random change of light: gain per channel, gamma, channel mixing, and sometimes grey. `(B, 3, H, W)`."""
    b = len(x)

    def u(*shape: int, low: float, high: float) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    gamma = torch.exp(u(b, 1, 1, 1, low=-0.6, high=0.6))
    gain = torch.exp(u(b, 1, 1, 1, low=-0.6, high=0.35) + u(b, 3, 1, 1, low=-0.3, high=0.3))
    grey = x.mean(1, keepdim=True)
    saturation = u(b, 1, 1, 1, low=0.0, high=1.6)
    x = (grey + (x - grey) * saturation).clamp(1e-4, 1)
    return (x**gamma * gain).clamp(0, 1)


def random_boxes(n: int, generator: torch.Generator, low: float = 0.35) -> Tensor:
    """Random crop boxes `(n, 4)` as x0, y0, x1, y1 in [0, 1], each side between `low` and 1."""
    size = low + (1 - low) * torch.rand(n, 2, generator=generator) ** 0.7
    origin = torch.rand(n, 2, generator=generator) * (1 - size)
    return torch.cat([origin, origin + size], 1)


def distill(pack: Path, data: Path, teacher: Teacher, out: Path, minutes: float, batch: int = 48, size: int = 160, seed: int = 0) -> None:
    """Train the embedded encoder for so many minutes and write EMA weights to `out`."""
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    photos = build_pack(data, pack).photos
    targets = teacher_targets(photos, teacher, pack / "teacher.npy")
    net = EmbeddedNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.02)
    started, step, running = time.monotonic(), 0, 0.0
    while (spent := (time.monotonic() - started) / 60) < minutes:
        phase = spent / minutes
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 200) * 0.5 * (1 + np.cos(np.pi * phase))
        index = torch.randint(len(photos), (batch,), generator=g)
        x = torch.from_numpy(photos[index.numpy()]).permute(0, 3, 1, 2).float() / 255
        t = targets[index].float()
        boxes = random_boxes(batch, g)
        x, t = crop(x, boxes, size), crop(t, boxes, size // 16)
        if torch.rand(1, generator=g) < 0.5:
            x, t = x.flip(3), t.flip(3)
        x = random_colours(x, g).contiguous(memory_format=torch.channels_last)
        vector, dense = net(x)
        goal = t.mean((2, 3))
        loss = (
            F.smooth_l1_loss(dense, t)
            + (1 - F.cosine_similarity(dense, t, dim=1)).mean()
            + 2 * (1 - F.cosine_similarity(vector, goal, dim=1)).mean()
        )
        similar = F.normalize(vector) @ F.normalize(vector).T - F.normalize(goal) @ F.normalize(goal).T
        loss = loss + 5 * similar.square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        decay = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            for a, b in zip(ema.state_dict().values(), net.state_dict().values(), strict=True):
                if a.is_floating_point():
                    a.lerp_(b, 1 - decay)
                else:
                    a.copy_(b)
        running = 0.98 * running + 0.02 * loss.item()
        step += 1
        if step % 50 == 0:
            print(f"step {step} samples {step * batch} loss {running / (1 - 0.98**step):.4f} minutes {spent:.1f}", flush=True)
        if step % 500 == 0:
            save_file({k: v.contiguous() for k, v in ema.state_dict().items()}, out)
    save_file({k: v.contiguous() for k, v in ema.state_dict().items()}, out, metadata={"architecture": "embedded"})


def main() -> None:
    """`python -m raiha_core.training.distill --data DIR --out FILE --minutes M`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="photo folder with a teacher/ folder inside")
    parser.add_argument("--pack", type=Path, default=Path("runs/pack"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    distill(arguments.pack, arguments.data, mobilenet_teacher(arguments.data / "teacher"), arguments.out, arguments.minutes)


if __name__ == "__main__":
    main()
