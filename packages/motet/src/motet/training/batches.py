"""An endless, reproducible, resumable stream of batches of examples of similar length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Any

from motet.harmony import Vocabulary
from motet.training.conversations import (
    Example,
    drawn_task,
    make_example,
    make_practice,
    make_situation,
)
from motet.training.exercise import Split

WIDTHS = (48, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768)
"""Row lengths; a longer example is left out. Few shapes, so that kernels are compiled once."""

SHORTEST_PRACTICE, LONGEST_PRACTICE = 12, 72
"""The longest text to copy at the beginning and at the end of the copying practice."""


@dataclass(frozen=True)
class Batch:
    """Rows of width + 1 ids (each predicts the next), whether to learn each id, each row's task.

    A task is named with its effort, such as `letters/high`.
    """

    ids: list[list[int]]
    learned: list[list[bool]]
    tasks: list[str]


@dataclass
class BatchStream:
    """Batches of about `tokens` ids each, from training problems drawn with `seed`."""

    vocabulary: Vocabulary
    seed: int
    tokens: int
    _random: Random = field(init=False)
    _waiting: dict[int, list[tuple[str, Example]]] = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._waiting = {width: [] for width in WIDTHS}

    def next(
        self, progress: float = 1.0, weights: Mapping[str, float] = MappingProxyType({})
    ) -> Batch:
        """The next batch; `progress` from 0 to 1 through the copying practice at the beginning.

        The share of plain copying falls from all examples to none while its texts grow. `weights`
        change the mixture of the tasks, see `drawn_task`.
        """
        while True:
            task, example = self._example(progress, weights)
            width = next((width for width in WIDTHS if len(example.ids) <= width + 1), None)
            if width is None:
                continue
            rows = self._waiting[width]
            rows.append((task, example))
            if len(rows) >= self.tokens // width:
                self._waiting[width] = []
                return self._batch(rows, width)

    def _example(self, progress: float, weights: Mapping[str, float]) -> tuple[str, Example]:
        if self._random.random() >= progress:
            longest = round(SHORTEST_PRACTICE + progress * (LONGEST_PRACTICE - SHORTEST_PRACTICE))
            return "practice", make_practice(self._random, self.vocabulary, longest)
        task = drawn_task(self._random, weights)
        situation = make_situation(self._random, self.vocabulary, Split.TRAIN, task)
        name = f"{situation.exercise.task}/{situation.effort}"
        return name, make_example(situation, self.vocabulary)

    def state(self) -> Any:
        """What `restore` needs to go on from here."""
        return self._random.getstate(), self._waiting

    def restore(self, state: Any) -> None:
        """Go on from a `state`."""
        random_state, self._waiting = state
        self._random.setstate(random_state)

    def _batch(self, rows: list[tuple[str, Example]], width: int) -> Batch:
        padding = self.vocabulary.endoftext
        return Batch(
            ids=[each.ids + [padding] * (width + 1 - len(each.ids)) for _, each in rows],
            learned=[each.learned + [False] * (width + 1 - len(each.ids)) for _, each in rows],
            tasks=[task for task, _ in rows],
        )
