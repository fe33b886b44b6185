"""The training loop: warm-up and decay, loss on the assistant's tokens, MXFP4 in the last phase.

Muon moves the matrices inside the layers, AdamW everything else. A task that is nearly mastered at
high effort is drawn less often, down to a third. All is decided by the options and the state in the
checkpoint, so a run can be stopped and resumed and repeats itself on the same machine.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from motet.harmony import Vocabulary
from motet.training.batches import Batch, BatchStream
from motet.training.kernels import hidden_states, linear
from motet.training.muon import Muon
from motet.training.quantisation import rounded_experts

_CHECKPOINT = "training.pt"


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; a step sees `tokens_per_step` ids in two batches of different lengths.

    The first `early_steps` see `early_tokens_per_step`: while everything is still to be learned,
    many small steps teach more than few exact ones.
    """

    steps: int = 11000
    tokens_per_step: int = 6144
    early_steps: int = 1500
    early_tokens_per_step: int = 3072
    learning_rate: float = 2e-3
    warmup_steps: int = 60
    final_share: float = 0.01
    weight_decay: float = 0.02
    balance: float = 0.01
    quantised_share: float = 0.12
    practice_steps: int = 350
    seed: int = 1
    save_every: int = 200
    log_every: int = 20


BATCHES_PER_STEP = 2
"""Worked on at the same time, one core each: cheaper than two cores on every small operation."""

_LOGIT_ROWS = 512  # logits are computed for a multiple of this: a new shape costs a new kernel

_INNER_MATRICES = ("proj.weight", "experts.gate_up_proj", "experts.down_proj")

Losses = dict[str, list[float]]
"""The summed losses of examples, by task and effort."""


def learning_rate(options: TrainingOptions, step: int) -> float:
    """Linear warm-up, then linear down to `final_share` of the peak at the last step."""
    warmup = min(1.0, (step + 1) / options.warmup_steps)
    left = max(0.0, 1 - step / options.steps)
    return options.learning_rate * warmup * max(options.final_share, left)


@dataclass
class Mastery:
    """How well each task goes at high effort: a running mean of the loss of a whole example.

    At temperature 1 an example of loss L comes out exactly right with probability exp(-L).
    """

    loss: dict[str, float] = field(default_factory=dict)

    def saw(self, task: str, loss: float) -> None:
        """Take an example's loss into account; `task` as in `Batch.tasks`."""
        name, _, effort = task.partition("/")
        if effort == "high":
            self.loss[name] = 0.99 * self.loss.get(name, loss) + 0.01 * loss

    def weights(self) -> dict[str, float]:
        """What to multiply each task's share of the mixture with, 1/3 to 1."""
        return {name: min(1.0, max(1 / 3, loss / 0.3)) for name, loss in self.loss.items()}


class Trainer:
    """One training run in `folder`; resumes from the folder's checkpoint if there is one."""

    def __init__(
        self, model: Any, vocabulary: Vocabulary, options: TrainingOptions, folder: Path
    ) -> None:
        self.model, self.options, self.folder = model, options, folder
        self.stream = BatchStream(vocabulary, options.seed)
        self._workers = ThreadPoolExecutor(
            BATCHES_PER_STEP, initializer=torch.set_num_threads, initargs=(1,)
        )
        inner, outer = _parameters(model)
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            Muon(inner, options.weight_decay, self._workers),
            torch.optim.AdamW(outer, betas=(0.9, 0.95), eps=1e-9, weight_decay=0.0, fused=True),
        )
        self.mastery = Mastery()
        self._upcoming: list[Batch] = []
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / _CHECKPOINT).exists():
            self._load()

    def run(self) -> Iterator[str]:
        """Train to the end; yields a line of log now and then."""
        losses: Losses = defaultdict(list)
        begun, seen = time.monotonic(), 0
        while self.step < self.options.steps:
            batches = self._upcoming or self._next_batches()
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

    def _next_batches(self) -> list[Batch]:
        practised = min(1.0, self.step / self.options.practice_steps)
        progress = self.step / self.options.steps
        early = self.step < self.options.early_steps
        tokens = self.options.early_tokens_per_step if early else self.options.tokens_per_step
        weights = self.mastery.weights()
        return [
            self.stream.next(tokens // BATCHES_PER_STEP, practised, progress, weights)
            for _ in range(BATCHES_PER_STEP)
        ]

    def _progress(self, losses: Losses) -> str:
        rate = learning_rate(self.options, self.step)
        means = " ".join(
            f"{task} {sum(values) / len(values):.2f}" for task, values in sorted(losses.items())
        )
        return f"step {self.step} rate {rate:.1e} | {means}"

    def _update(self, batches: list[Batch], losses: Losses) -> float:
        options = self.options
        total = sum(owner >= 0 for batch in batches for row in batch.owners for owner in row)
        parameters = list(self.model.parameters())

        def gradients(batch: Batch) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
            loss, per_task, uneven = _loss(self.model, batch)
            objective = loss / total + options.balance * uneven / len(batches)
            return torch.autograd.grad(objective, parameters), per_task, uneven.detach()

        with self._weights():
            working = self._workers.map(gradients, batches)
            self._upcoming = self._next_batches()  # while the workers compute
            parts = list(working)
        for batch, (_, per_task, _) in zip(batches, parts, strict=True):
            for task, value in zip(batch.tasks, per_task.tolist(), strict=True):
                losses[task].append(value)
                self.mastery.saw(task, value)
        for parameter, *shares in zip(parameters, *(part[0] for part in parts), strict=True):
            parameter.grad = torch.stack(shares).sum(0)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(options, self.step)
            optimizer.step()
            optimizer.zero_grad()
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
            "optimizers": [each.state_dict() for each in self.optimizers],
            "stream": self.stream.state(),
            "mastery": self.mastery.loss,
            "upcoming": self._upcoming,
        }
        partial = self.folder / f"{_CHECKPOINT}.partial"
        torch.save(state, partial)
        partial.replace(self.folder / _CHECKPOINT)

    def _load(self) -> None:
        state = torch.load(self.folder / _CHECKPOINT, weights_only=False)
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.stream.restore(state["stream"])
        self.mastery.loss = state["mastery"]
        self._upcoming = state["upcoming"]


def _parameters(model: Any) -> tuple[list[Any], list[Any]]:
    """The matrices inside the layers, and everything else: embeddings, routers, biases, norms."""
    named = list(model.named_parameters())
    inner = {name for name, value in named if name.endswith(_INNER_MATRICES)}
    return (
        [value for name, value in named if name in inner],
        [value for name, value in named if name not in inner],
    )


def _loss(model: Any, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The summed loss over learned tokens, that of each exercise, and the experts' imbalance."""
    ids, owners = torch.tensor(batch.ids), torch.tensor(batch.owners)[:, 1:].flatten()
    places = (owners >= 0).nonzero()[:, 0]
    padded = functional.pad(places, (0, -len(places) % _LOGIT_ROWS))
    hidden, uneven = hidden_states(model, ids[:, :-1], padded)
    logits = linear(model.lm_head, hidden)[: len(places)]
    each = functional.cross_entropy(logits.float(), ids[:, 1:].flatten()[places], reduction="none")
    per_task = torch.zeros(len(batch.tasks)).index_add_(0, owners[places], each.detach())
    return each.sum(), per_task, uneven
