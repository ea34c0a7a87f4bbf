"""The training loop: accelerate moves it between CPU, one GPU and many; a kill loses at most the steps since a checkpoint.

Everything random of step t follows from (seed, t, process), so a resumed run draws the same batches and follows the same
curve as one that was never stopped.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..errors import RaihaError
from . import resume
from .augment import EditBank
from .average import Average
from .config import TrainConfig
from .mixture import Mixture, open_mixture
from .objective import Objective, objective_for
from .sources import RawBatch, Triplets, assemble
from .validate import Validation


class Steps(Dataset[Any]):
    """Maps a step's number to its batch: raw for an accelerator, assembled for a CPU."""

    def __init__(self, config: TrainConfig, mixture: Mixture, rank: int, assembled: bool):
        self.config, self.mixture, self.rank, self.assembled = config, mixture, rank, assembled

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> RawBatch | Triplets:
        rng = np.random.default_rng((self.config.seed, step, self.rank))
        raw = self.mixture.draw(self.config.batch, rng)
        return make_batch(self.config, raw, self.mixture.bank, step, self.rank) if self.assembled else raw


def make_batch(config: TrainConfig, raw: RawBatch, bank: EditBank, step: int, rank: int) -> Triplets:
    """Augment the raw batch of one step, on the device that it lies on."""
    generator = torch.Generator().manual_seed(seed_of(config, step, rank))
    return assemble(raw, size_at(config, step), bank, config.recipe, config.references, generator)


def seed_of(config: TrainConfig, step: int, rank: int) -> int:
    """The seed of everything random of one step in one process."""
    return int(np.random.SeedSequence((config.seed, step, rank, 1)).generate_state(1)[0])


def size_at(config: TrainConfig, step: int) -> int:
    """Side in pixels of the pictures that a step trains on."""
    return [size for share, size in config.sizes if step >= share * config.steps][-1]


def rate_at(config: TrainConfig, step: int) -> float:
    """Learning rate: linear warm-up, then half a cosine, or a straight line down, after `hold`, where the config says `linear`."""
    warm, done = min(1.0, (step + 1) / max(1, config.warmup)), min(1.0, step / config.steps)
    left = min(1.0, (1 - done) / max(1e-9, 1 - config.hold)) if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * warm * left


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Backbone apart from the rest, norms and biases without weight decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": p, "factor": config.backbone_rate if own else 1.0, "weight_decay": config.weight_decay if decay else 0.0}
        for (own, decay), p in groups.items()
    ]


class Trainer:
    """One run. `run()` starts it or goes on where the last checkpoint in `config.out` ends.

    Args:
        config: what to train, on what, how.
        force: go on from that checkpoint even if it belongs to a run with another config or other pictures.

    Attributes:
        trained: steps made by `run()` in this process; 0 where the run was at its end already.

    Raises:
        RaihaError: the folder holds another run, a source cannot be opened, or the model cannot be made as the config says.
    """

    def __init__(self, config: TrainConfig, force: bool = False):
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, set_seed

        self.config = config
        self.out = Path(config.out)
        self.out.mkdir(parents=True, exist_ok=True)
        # A step without references leaves what judges references without a gradient.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(mixed_precision=config.precision, kwargs_handlers=[unused])
        if self.accelerator.device.type == "cpu":
            torch.set_num_threads(config.threads)
        main, wait = self.accelerator.is_main_process, self.accelerator.wait_for_everyone
        if main:
            resume.recover(self.out)
        wait()
        resumes = (self.out / resume.CHECKPOINT).is_dir()
        if resumes and not force:
            resume.refuse_another_run(self.out, config)
        self.mixture = open_mixture(config, self.out, main=main, wait=wait)
        if resumes and not force:
            resume.refuse_other_data(self.out, config, self.mixture.contents)
        set_seed(config.seed)  # here, since opening the sources may draw from the generators
        self.objective: Objective = _objective(config)
        model = self.objective.model
        optimiser = torch.optim.AdamW(parameter_groups(model, config), config.learning_rate)
        self.model, self.optimiser = self.accelerator.prepare(model, optimiser)
        bare = self.accelerator.unwrap_model(self.model)
        self.ema = Average(bare, config.ema)
        self.step = self.trained = 0
        self.accelerator.register_for_checkpointing(self.ema, self)
        self.validation = Validation(Path(config.validation), self.objective.input_size) if config.validation else None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers beside model, optimiser and averaged weights."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.step = int(state["step"])

    def run(self) -> Path:
        """Train to the end; returns the path of the averaged weights."""
        checkpoint, main = self.out / resume.CHECKPOINT, self.accelerator.is_main_process
        if checkpoint.is_dir():
            self.accelerator.load_state(str(checkpoint), load_kwargs={"weights_only": True})
        elif main:
            (self.out / "log.jsonl").unlink(missing_ok=True)  # of a run that ended before its first checkpoint
        self.accelerator.wait_for_everyone()
        if main:
            resume.write_record(self.out, self.config, self.mixture.contents)
        on_cpu = self.accelerator.device.type == "cpu"
        steps = Steps(self.config, self.mixture, self.accelerator.process_index, assembled=on_cpu)
        loader = DataLoader(
            steps,
            batch_size=None,
            sampler=range(self.step, self.config.steps),
            num_workers=self.config.workers,
            prefetch_factor=4 if self.config.workers else None,
            persistent_workers=False,
        )
        bank = self.mixture.bank.to(self.accelerator.device)
        bar = tqdm(loader, total=self.config.steps, initial=self.step, desc="train", disable=not main, mininterval=5)
        started, window = time.monotonic(), []
        for item in bar:
            batch = (
                item
                if on_cpu
                else make_batch(self.config, item.to(self.accelerator.device), bank, self.step, self.accelerator.process_index)
            )
            window.append(self._train_step(batch))
            self.step += 1
            self.trained += 1
            if self.step % 50 == 0:
                self._log(
                    {
                        "step": self.step,
                        "loss": float(np.mean(window[-50:])),
                        "rate": rate_at(self.config, self.step),
                        "seconds": time.monotonic() - started,
                    }
                )
                bar.set_postfix(loss=f"{np.mean(window[-50:]):.4f}")
            if self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                self._checkpoint()
            if self.validation and (self.step % self.config.validate_every == 0 or self.step == self.config.steps):
                self._validate()
        if main and not self.trained:  # a kill may have come between the last checkpoint and its weights
            self._save()
        return self.out / "model.safetensors"

    def _train_step(self, batch: Triplets) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.config, self.step) * group["factor"]
        self.model.train()
        # Dropout too: a resumed run must not depend on what the generator did before.
        torch.manual_seed(seed_of(self.config, self.step, self.accelerator.process_index))
        with self.accelerator.autocast():
            loss = self.objective.loss(self.model, batch)
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.ema.follow(self.accelerator.unwrap_model(self.model), self.step)
        return float(loss.detach())

    def _log(self, row: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            with (self.out / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")

    def _checkpoint(self) -> None:
        """Write state beside the old one and swap, so that a kill at any moment leaves a whole checkpoint."""
        if self.accelerator.is_main_process:
            resume.clear_part(self.out)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(resume.part_of(self.out)))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            resume.replace_checkpoint(self.out)
            self._save()

    def _save(self) -> None:
        self.objective.save(self.ema.module, self.out / "model.safetensors", self.step)

    def _validate(self) -> None:
        if self.validation and self.accelerator.is_main_process:
            report = self.validation.measure(self.ema.module, self.objective.render)
            self._log({"step": self.step, "validation": report})


def _objective(config: TrainConfig) -> Objective:
    try:
        return objective_for(config)
    except (TypeError, ValueError) as error:
        if isinstance(error, RaihaError):
            raise
        reason = str(error).split("__init__() ")[-1]
        raise RaihaError(f"The training config's model does not fit {config.architecture} ({reason}); mend its keys.") from None
