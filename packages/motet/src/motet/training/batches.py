"""An endless, reproducible, resumable stream of batches of examples of similar length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from motet.harmony import Vocabulary
from motet.training.conversations import (
    Example,
    drawn_task,
    make_example,
    make_lesson,
    make_practice,
    make_situation,
)
from motet.training.exercise import Split

WIDTHS = (48, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768)
"""Row lengths; a longer example is left out. Few shapes, so that kernels are compiled once."""

SHORTEST_PRACTICE, LONGEST_PRACTICE = 12, 72
"""The longest text to copy at the beginning and at the end of the copying practice."""

LONGEST_LESSON = 448
SITUATIONS = (0.15, 0.6)
"""The share of single situations among the examples, at the beginning and at the end of a run."""


@dataclass(frozen=True)
class Batch:
    """Rows of width + 1 ids (each predicts the next) with what is to be learned of them.

    `tasks` names the exercises of all rows; `owners` has for each id the number of its exercise
    among them, or -1 if it is not learned.
    """

    ids: list[list[int]]
    owners: list[list[int]]
    tasks: list[str]


@dataclass
class BatchStream:
    """Batches from training problems drawn with `seed`."""

    vocabulary: Vocabulary
    seed: int
    _random: Random = field(init=False)
    _waiting: dict[int, list[Example]] = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._waiting = {width: [] for width in WIDTHS}

    def next(
        self,
        tokens: int,
        practised: float = 1.0,
        progress: float = 1.0,
        weights: Mapping[str, float] | None = None,
    ) -> Batch:
        """The next batch, of about `tokens` ids.

        `practised` goes from 0 to 1 through the copying practice at the beginning: the share of
        plain copying falls from all examples to none while its texts grow. `progress` goes from 0
        to 1 through the run, and turns lessons into situations. `weights` change the mixture of the
        tasks, see `drawn_task`.
        """
        while True:
            example = self._example(practised, progress, weights or {})
            width = next((width for width in WIDTHS if len(example.ids) <= width + 1), None)
            if width is None:
                continue
            rows = self._waiting[width]
            rows.append(example)
            if len(rows) >= tokens // width:
                self._waiting[width] = []
                return self._batch(rows, width)

    def _example(self, practised: float, progress: float, weights: Mapping[str, float]) -> Example:
        random = self._random
        if random.random() >= practised:
            longest = round(SHORTEST_PRACTICE + practised * (LONGEST_PRACTICE - SHORTEST_PRACTICE))
            return make_practice(random, self.vocabulary, longest)
        first, last = SITUATIONS
        if random.random() >= first + (last - first) * progress:
            return make_lesson(random, self.vocabulary, weights, LONGEST_LESSON)
        task = drawn_task(random, weights)
        situation = make_situation(random, self.vocabulary, Split.TRAIN, task)
        return make_example(situation, self.vocabulary)

    def state(self) -> Any:
        """What `restore` needs to go on from here."""
        return self._random.getstate(), self._waiting

    def restore(self, state: Any) -> None:
        """Go on from a `state`."""
        random_state, self._waiting = state
        self._random.setstate(random_state)

    def _batch(self, rows: list[Example], width: int) -> Batch:
        padding = self.vocabulary.endoftext
        owners, tasks = [], list[str]()
        for each in rows:
            moved = [owner + len(tasks) if owner >= 0 else -1 for owner in each.owners]
            owners.append(moved + [-1] * (width + 1 - len(moved)))
            tasks += each.tasks
        ids = [each.ids + [padding] * (width + 1 - len(each.ids)) for each in rows]
        return Batch(ids, owners, tasks)
