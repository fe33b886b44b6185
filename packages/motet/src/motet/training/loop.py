"""The training loop: AdamW on the assistant's tokens, warm-up and decay, MXFP4 in the last phase.

Everything is decided by the options and the step number, so a run can be stopped and resumed at any
checkpoint and repeats itself on the same machine.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from motet.harmony import Vocabulary
from motet.training.batches import Batch, BatchStream
from motet.training.kernels import hidden_states, linear
from motet.training.quantisation import rounded_experts

_CHECKPOINT = "training.pt"


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; a step sees `tokens_per_step` ids in two batches of different lengths."""

    steps: int = 4400
    tokens_per_step: int = 6144
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    final_share: float = 0.02
    weight_decay: float = 0.02
    balance: float = 0.01
    quantised_share: float = 0.15
    practice_steps: int = 800
    seed: int = 1
    save_every: int = 200
    log_every: int = 20


BATCHES_PER_STEP = 2
"""Worked on at the same time, one core each: cheaper than two cores on every small operation."""

_LOGIT_ROWS = 512  # logits are computed for a multiple of this: a new shape costs a new kernel


def learning_rate(options: TrainingOptions, step: int) -> float:
    """Linear warm-up, then a cosine down to `final_share` of the peak."""
    warmup = min(1.0, (step + 1) / options.warmup_steps)
    progress = min(1.0, step / options.steps)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return (
        options.learning_rate * warmup * (options.final_share + (1 - options.final_share) * cosine)
    )


class Trainer:
    """One training run in `folder`; resumes from the folder's checkpoint if there is one."""

    def __init__(
        self, model: Any, vocabulary: Vocabulary, options: TrainingOptions, folder: Path
    ) -> None:
        self.model, self.options, self.folder = model, options, folder
        self.stream = BatchStream(
            vocabulary, options.seed, options.tokens_per_step // BATCHES_PER_STEP
        )
        self.optimizer = torch.optim.AdamW(
            _groups(model, options), betas=(0.9, 0.95), eps=1e-9, fused=True
        )
        self._workers = ThreadPoolExecutor(
            BATCHES_PER_STEP, initializer=torch.set_num_threads, initargs=(1,)
        )
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / _CHECKPOINT).exists():
            self._load()

    def run(self) -> Iterator[str]:
        """Train to the end; yields a line of log now and then."""
        losses: dict[str, list[float]] = defaultdict(list)
        begun, seen = time.monotonic(), 0
        while self.step < self.options.steps:
            progress = min(1.0, self.step / self.options.practice_steps)
            batches = [self.stream.next(progress) for _ in range(BATCHES_PER_STEP)]
            seen += sum(len(batch.ids) * len(batch.ids[0]) for batch in batches)
            imbalance = self._update(batches, losses)
            self.step += 1
            if self.step % self.options.log_every == 0:
                speed = seen / (time.monotonic() - begun)
                yield f"{self._progress(losses)} | {speed:.0f} tokens/s imbalance {imbalance:.2f}"
                losses.clear()
                begun, seen = time.monotonic(), 0
            if self.step % self.options.save_every == 0 or self.step == self.options.steps:
                self.save()

    def _progress(self, losses: dict[str, list[float]]) -> str:
        rate = learning_rate(self.options, self.step)
        means = " ".join(
            f"{task} {sum(values) / len(values):.3f}" for task, values in sorted(losses.items())
        )
        return f"step {self.step} rate {rate:.1e} | {means}"

    def _update(self, batches: list[Batch], losses: dict[str, list[float]]) -> float:
        options = self.options
        total = sum(sum(map(sum, batch.learned)) for batch in batches)
        parameters = list(self.model.parameters())

        def gradients(batch: Batch) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
            loss, per_row, uneven = _loss(self.model, batch)
            objective = loss / total + options.balance * uneven / len(batches)
            return torch.autograd.grad(objective, parameters), per_row, uneven.detach()

        with self._weights():
            parts = list(self._workers.map(gradients, batches))
        for batch, (_, per_row, _) in zip(batches, parts, strict=True):
            for task, value in zip(batch.tasks, per_row.tolist(), strict=True):
                losses[task].append(value)
        for parameter, *shares in zip(parameters, *(part[0] for part in parts), strict=True):
            parameter.grad = torch.stack(shares).sum(0)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(options, self.step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(sum(part[2] for part in parts)) / len(parts)

    def _weights(self) -> AbstractContextManager[None]:
        """In the last phase, the weights as the checkpoint will hold them."""
        if self.step < self.options.steps * (1 - self.options.quantised_share):
            return nullcontext()
        return rounded_experts(self.model, self._workers)

    def save(self) -> None:
        """Write a checkpoint, in place of the one before."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stream": self.stream.state(),
        }
        partial = self.folder / f"{_CHECKPOINT}.partial"
        torch.save(state, partial)
        partial.replace(self.folder / _CHECKPOINT)

    def _load(self) -> None:
        state = torch.load(self.folder / _CHECKPOINT, weights_only=False)
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stream.restore(state["stream"])


def _groups(model: Any, options: TrainingOptions) -> list[dict[str, Any]]:
    """Weight decay on matrices only."""
    named = list(model.named_parameters())
    matrices = [value for name, value in named if value.dim() >= 2 and not name.endswith("bias")]
    others = [value for name, value in named if value.dim() < 2 or name.endswith("bias")]
    return [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _loss(model: Any, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The summed loss over learned tokens, each row's mean loss, and the experts' imbalance."""
    ids, learned = torch.tensor(batch.ids), torch.tensor(batch.learned)[:, 1:]
    hidden, uneven = hidden_states(model, ids[:, :-1])
    places = learned.flatten().nonzero()[:, 0]
    padded = functional.pad(places, (0, -len(places) % _LOGIT_ROWS))
    logits = linear(model.lm_head, hidden.flatten(0, 1).index_select(0, padded))[: len(places)]
    each = functional.cross_entropy(logits.float(), ids[:, 1:].flatten()[places], reduction="none")
    rows = torch.zeros(len(ids)).index_add_(0, places // learned.shape[1], each.detach())
    return each.sum(), rows / learned.sum(1).clamp(min=1), uneven
