"""Who takes part in the next step, with which tokens, and who holds memory.

The policy, in the order it is applied before every step:

1. Whoever came first is let in first, as long as there is memory for its prompt and a little of its
   answer beside what the others still need for theirs. It begins from the longest prefix in the
   cache.
2. Every generation that has its prompt behind it takes part with the token chosen last, those its
   constraint has forced, and a draft if that is worth its time.
3. The rest of the step's room goes to prompts: half to the oldest, so that none waits forever, the
   other half to those with the least left to read, so that a short question need not wait for long
   ones. What these leave is the oldest one's. A prompt that an older one is reading the beginning
   of waits, and takes its pages from the cache.
4. In the order of arrival everyone gets the memory for its share. If it runs short, prefixes that
   nobody uses are forgotten; then shares shrink to what fits; then the youngest generation gives
   way: it loses its pages and goes back to the head of the queue, to read its tokens again later.
   The oldest thus always goes on, and since no request is accepted that does not fit alone,
   everyone gets to the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from motet import _native
from motet.engine.errors import EngineBusy
from motet.engine.generation import Generation, Tokens
from motet.engine.pages import PAGE, PageSizes
from motet.engine.prefix_cache import PrefixCache
from motet.engine.speculation import StepTimes
from motet.engine.statistics import EngineStatistics, Totals

LIVE_GENERATIONS = 64
TOKENS_PER_STEP = 512
PROMPT_TOKENS_PER_STEP = 128  # at least, however many generations are decoding
TOKENS_AT_ONCE = 16  # of one generation that decodes; a longer forced run is read like a prompt
RESERVE = 128  # tokens of its answer that a request should have room for when it is let in


@dataclass(frozen=True, eq=False)
class Part:
    """The share of one generation in a step.

    `rows` is the number of last tokens behind which logits are wanted; all of them but the first
    are `drafted`.
    """

    generation: Generation
    tokens: Tokens
    rows: int
    start: int  # length of the sequence before

    @property
    def decodes(self) -> bool:
        """Whether the answer goes on, and no long prompt is read."""
        return self.rows > 0 and self.tokens.size - self.drafted.size <= TOKENS_AT_ONCE

    @property
    def drafted(self) -> Tokens:
        """The guessed ones among the tokens."""
        return self.tokens[self.tokens.size - max(0, self.rows - 1) :]


class Scheduler:
    """Queue, live generations and prefix cache of one model; not thread-safe.

    `limit`: bytes for keys and values. A generation that is added must fit into that alone.
    """

    def __init__(
        self,
        model: _native.Model,
        sizes: PageSizes,
        limit: int,
        totals: Totals,
        *,
        maximum_waiting: int,
        speculation: bool,
    ) -> None:
        self.waiting: deque[Generation] = deque()
        self.live: list[Generation] = []  # in the order of arrival
        self.cache = PrefixCache(sizes.reach)
        self.times = StepTimes()
        self.totals = totals
        self.model = model
        self._sizes = sizes
        self._limit = limit
        self._maximum_waiting = maximum_waiting
        self._speculation = speculation

    def add(self, generation: Generation) -> None:
        """Put a generation at the end of the queue; raises EngineBusy if that is too long."""
        if len(self.waiting) >= self._maximum_waiting:
            raise EngineBusy(
                f"{len(self.waiting)} requests are waiting already; try again in a while"
            )
        self.waiting.append(generation)

    def cancel(self, generation: Generation) -> None:
        """Forget a generation that may be waiting; a live one leaves by itself."""
        if generation in self.waiting:
            self.waiting.remove(generation)

    def turn_away(self) -> list[Generation]:
        """Let go of all generations, which are given back."""
        generations = [*self.live, *self.waiting]
        for generation in self.live:
            generation.sequence.clear()
        self.live.clear()
        self.waiting.clear()
        return generations

    def arrange(self) -> None:
        """Let generations that are over leave, and others join."""
        self._dismiss()
        self.waiting = deque(each for each in self.waiting if not each.over)
        while self.waiting and len(self.live) < LIVE_GENERATIONS and self._admits(self.waiting[0]):
            self.live.append(self.waiting.popleft())

    def plan(self) -> list[Part]:
        """Divide the next step among the live generations."""
        tokens = self._shares()
        parts: list[Part] = []
        planned = 0
        for generation in tuple(self.live):
            wanted = tokens.get(generation)
            if wanted is None or generation not in self.live:
                continue
            length = generation.sequence.length
            count = self._fitting(generation, wanted.size, planned)
            if count:
                planned += self._sizes.growth(length, count)
                rows = max(0, count - generation.unread.size + 1)
                parts.append(Part(generation, wanted[:count], rows, length))
        for part in parts:
            self._count_begun(part.generation)
        return parts

    def settle(self, parts: Sequence[Part], seconds: float) -> None:
        """Put what a step has read into the cache, and give back what nobody needs any more."""
        self.totals.steps += 1
        if self._speculation and parts and all(part.decodes for part in parts):
            self.times.note(sum(part.tokens.size for part in parts), seconds)
        for part in parts:
            sequence = part.generation.sequence
            certain = part.tokens.size - part.drafted.size
            self.totals.tokens_read += part.tokens.size
            self.totals.drafted_tokens += part.drafted.size
            self.totals.accepted_tokens += sequence.length - part.start - certain
            if sequence.length // PAGE > part.start // PAGE:
                self.cache.keep(sequence, part.generation.tokens)
            sequence.trim()
        self._dismiss()

    def statistics(self) -> EngineStatistics:
        """What is so now."""
        return EngineStatistics(
            live=len(self.live),
            waiting=len(self.waiting),
            key_value_bytes=self.model.cache_bytes,
            cached_bytes=self.cache.bytes,
            key_value_limit=self._limit,
            totals=replace(self.totals),
        )

    def _admits(self, generation: Generation) -> bool:
        self.cache.resume(generation.sequence, generation.tokens)
        promised = sum(self._outstanding(each) for each in (*self.live, generation))
        missing = self.model.cache_bytes + promised - self._limit
        # Alone it fits in any case, though what sliding layers give back is not foreseen here.
        if not self.live or self.cache.can_evict(missing):
            self.cache.evict(missing)
            return True
        generation.sequence.clear()
        return False

    def _outstanding(self, generation: Generation) -> int:
        """Bytes it takes to read what is unread and a little of the answer."""
        length = generation.sequence.length
        tokens = generation.tokens.size + min(RESERVE, generation.tokens_left)
        return max(0, self._sizes.needed(tokens) - self._sizes.needed(length))

    def _shares(self) -> dict[Generation, Tokens]:
        """The tokens that each should read next, if there is memory."""
        going_on = [each for each in self.live if not each.over]
        decoding = [each for each in going_on if each.unread.size <= TOKENS_AT_ONCE]
        prompts = [each for each in going_on if each.unread.size > TOKENS_AT_ONCE]
        rows = sum(each.unread.size for each in decoding)
        price = self.times.price(rows) if self._speculation else 1.0
        shares = {each: self._with_draft(each, price) for each in decoding}
        if prompts:
            room = max(PROMPT_TOKENS_PER_STEP, TOKENS_PER_STEP - rows)
            shares |= self._prompt_shares(prompts, room)
        return shares

    def _with_draft(self, generation: Generation, price: float) -> Tokens:
        # The masks of a draft could not be computed beside the step.
        if price >= 1 or generation.has_slow_mask:
            return generation.unread
        draft = generation.guesses.draft(generation.tokens, price)[: generation.tokens_left - 1]
        return np.concatenate((generation.unread, draft)) if draft.size else generation.unread

    def _prompt_shares(self, prompts: list[Generation], room: int) -> dict[Generation, Tokens]:
        oldest, *others = prompts
        self._resume(oldest)
        first = min(oldest.unread.size, room // 2)
        room -= first
        shares = {}
        for generation in sorted(others, key=lambda each: each.unread.size):
            if not room:
                break
            if self._follows(generation, prompts):
                continue
            self._resume(generation)
            shares[generation] = generation.unread[:room]
            room -= shares[generation].size
        return {oldest: oldest.unread[: first + room], **shares}

    def _resume(self, generation: Generation) -> None:
        """Take from the cache what others have read since it was let in."""
        if not generation.reading:
            self.cache.resume(generation.sequence, generation.tokens)

    def _follows(self, generation: Generation, prompts: list[Generation]) -> bool:
        """Whether an older prompt is about to read a page that this one begins with too."""
        if generation.reading:
            return False
        older = prompts[: prompts.index(generation)]
        return any(
            _common_pages(generation, each) * PAGE
            > max(each.sequence.length, generation.sequence.length)
            for each in older
        )

    def _fitting(self, generation: Generation, count: int, planned: int) -> int:
        """How many of `count` tokens there is memory for beside what is `planned`."""
        length = generation.sequence.length
        needed = self._sizes.growth(length, count)
        while (free := self._limit - self.model.cache_bytes - planned) < needed:
            if self.cache.evict(needed - free):
                continue
            if fitting := self._sizes.fitting(length, free):
                return min(fitting, count)
            if self.live[-1] is generation:
                return 0
            self._preempt(self.live.pop())
        return count

    def _dismiss(self) -> None:
        """Let generations that are over go, before their callers hear of it."""
        for generation in self.live:
            if generation.over:
                self._free(generation)
        self.live = [generation for generation in self.live if not generation.over]

    def _preempt(self, generation: Generation) -> None:
        self._free(generation)
        generation.reading = False
        self.waiting.appendleft(generation)
        self.totals.preemptions += 1

    def _free(self, generation: Generation) -> None:
        """Take its memory from a generation; the cache keeps the pages until they are needed."""
        self.cache.keep(generation.sequence, generation.tokens)
        generation.sequence.clear()

    def _count_begun(self, generation: Generation) -> None:
        if generation.start_reading():
            self.totals.prompt_tokens += generation.prompt_length
            self.totals.cached_tokens += generation.cached or 0


def _common_pages(one: Generation, other: Generation) -> int:
    """How many full pages the prompts share, short of the last token of the first."""
    count = min(one.tokens.size - 1, other.tokens.size)
    differing = np.flatnonzero(one.tokens[:count] != other.tokens[:count])
    return (int(differing[0]) if differing.size else count) // PAGE
