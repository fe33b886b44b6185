"""The engine on this machine's processor.

One worker thread runs the model. As long as there are generations it makes steps, each with tokens
of all of them; requests join and leave between steps (scheduling.py says who and when). When there
is nothing to do it brings weights into large pages of memory and ends, and a new request starts
another, so an idle engine costs nothing and keeps no program alive.

A generation that fails, by its constraint or its logits, takes no other with it. If a whole step
fails, the live generations end with an EngineError and the engine goes on.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from motet import _native
from motet.checkpoint import Checkpoint, ModelConfig
from motet.checkpoint.inspection import show_bytes
from motet.engine.delivery import Mailbox, Output, deliver
from motet.engine.derived import Matrices, keep_matrices, kept_matrices
from motet.engine.errors import EngineError
from motet.engine.generation import Generation
from motet.engine.memory import default_limit, require_memory, spare_memory
from motet.engine.pages import PageSizes
from motet.engine.processors import available_processors
from motet.engine.readable import readable_weights, require_whole
from motet.engine.request import GeneratedTokens, GenerationRequest
from motet.engine.sampling import Sampler
from motet.engine.scheduling import Part, Scheduler
from motet.engine.statistics import EngineStatistics, Totals

Precision: TypeAlias = Literal["exact", "fast", "fast4"]
Outputs: TypeAlias = list[tuple[Mailbox, Output]]

_CLOSED = "the engine has been closed; make a new one"


class NativeEngine:
    """Runs a checkpoint in place, from its mapped files.

    `precision`: "fast" rounds activations, attention matrices and head to 8 bits in blocks of 32,
    "fast4" those of queries and outputs to 4 bits, "exact" computes in float32 on the weights of
    the file. Of a large vocabulary (`_native.SEARCHED_VOCABULARY`) the first two compute only the
    `_native.REFINED_LOGITS` greatest logits, or some more, in 8 bits, the others in 4.
    `threads` defaults to the processors this process may use. `key_value_limit`: bytes for keys and
    values, those of the prefix cache included, by default half of the memory that is free beside
    the weights. What does not fit into it is no context: `context_length` is then less than the
    model's. `maximum_waiting`: requests beyond that many are turned away with EngineBusy.
    `speculation`: whether guessed tokens may be tried where that saves time; the answers are the
    same, and what it saves is little so far (docs/negative-results.md). Raises EngineError if no
    native model can be made of the checkpoint.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        precision: Precision = "fast",
        threads: int | None = None,
        key_value_limit: int | None = None,
        maximum_waiting: int = 256,
        speculation: bool = False,
    ) -> None:
        config = checkpoint.config
        spare = spare_memory(checkpoint, precision)
        model = native_model(checkpoint, precision=precision, threads=threads)
        sizes = PageSizes.of(model, config)
        limit = key_value_limit
        if limit is None:
            limit = default_limit(spare, sizes, config.context_length)
        self.obeys_constraints = True
        self.reads_grammars = False
        self.vocabulary_size = config.vocabulary_size
        self.context_length = _context_within(limit, sizes, config)
        self._checkpoint = checkpoint
        self._model_context = config.context_length
        self._sizes = sizes
        self._limit = limit
        self._totals = Totals()
        self._scheduler: Scheduler | None = Scheduler(
            model,
            sizes,
            limit,
            self._totals,
            maximum_waiting=maximum_waiting,
            speculation=speculation,
        )
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._last_started: threading.Thread | None = None
        self._masks = ThreadPoolExecutor(1, thread_name_prefix="motet-masks")

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        """Yield the continuation of the prompt as it comes; raises EngineError."""
        generation = self._submit(request)
        try:
            while True:
                generated = await generation.mailbox.next()
                yield generated
                if generated.finish:
                    return
        finally:
            generation.mailbox.abandoned = True
            self._cancel(generation)

    def statistics(self) -> EngineStatistics:
        """What the engine holds and has done; a closed one holds nothing."""
        with self._lock:
            if self._scheduler is None:
                return EngineStatistics(totals=replace(self._totals))
            return self._scheduler.statistics()

    def clear_cache(self) -> None:
        """Forget what was read for requests that are over, and give its memory back."""
        with self._lock:
            if self._scheduler:
                self._scheduler.cache.clear()

    async def close(self) -> None:
        """End all generations with an EngineError and free the model."""
        with self._lock:
            scheduler, self._scheduler = self._scheduler, None
            last_started = self._last_started
        if last_started:
            await asyncio.to_thread(last_started.join)
        if scheduler:
            scheduler.cache.clear()
        self._masks.shutdown(wait=False)

    def _submit(self, request: GenerationRequest) -> Generation:
        prompt = self._checked_prompt(request)
        with self._lock:
            scheduler = self._scheduler
            if scheduler is None:
                raise EngineError(_CLOSED)
            room = self.context_length - prompt.size
            generation = Generation(
                request,
                prompt,
                scheduler.model.sequence(),
                Sampler(request, self.vocabulary_size),
                min(request.maximum_tokens or room, room),
            )
            self._worker = self._worker or self._new_worker(scheduler)
            scheduler.add(generation)  # the worker looks once it gets the lock
        return generation

    def _cancel(self, generation: Generation) -> None:
        with self._lock:
            if self._scheduler:
                self._scheduler.cancel(generation)

    def _new_worker(self, scheduler: Scheduler) -> threading.Thread:
        worker = threading.Thread(
            target=self._run, args=(scheduler, self._last_started), name="motet-engine"
        )
        try:
            worker.start()
        except RuntimeError as error:
            raise EngineError(
                "the system gives no thread to run the model in; end other programs and try again"
            ) from error
        self._last_started = worker
        return worker

    def _checked_prompt(self, request: GenerationRequest) -> NDArray[np.int32]:
        length = len(request.prompt)
        if length >= self._model_context:
            raise EngineError(
                f"the prompt has {length} tokens, but the model's context of {self._model_context}"
                " has to hold at least one token of the answer too; shorten the conversation"
            )
        if length >= self.context_length:
            raise EngineError(
                f"the prompt has {length} tokens and needs"
                f" {show_bytes(self._sizes.needed(length + 1))} of memory for keys and values with"
                f" the first token of the answer, but the engine may use {show_bytes(self._limit)},"
                f" enough for {self.context_length} tokens; shorten the conversation or allow more"
            )
        for token in request.prompt:
            if not 0 <= token < self.vocabulary_size:
                raise EngineError(
                    f"the prompt holds the token {token}, but the model's vocabulary has"
                    f" {self.vocabulary_size} tokens; was it rendered for another model?"
                )
        return np.array(request.prompt, dtype=np.int32)

    def _run(self, scheduler: Scheduler, former: threading.Thread | None) -> None:
        self._work(scheduler)
        if former:  # one at a time, and who waits for this thread has waited for all
            former.join()
        while self._idle() and scheduler.model.bring_large_pages():
            pass

    def _idle(self) -> bool:
        """Whether there is time: no other worker, no end of the engine or of the program."""
        with self._lock:
            open_and_idle = self._scheduler is not None and self._worker is None
        return open_and_idle and threading.main_thread().is_alive()

    def _work(self, scheduler: Scheduler) -> None:
        try:
            while self._arrange(scheduler):
                self._tell(_begin(scheduler.live))
                try:
                    outputs = self._step(scheduler)
                except BaseException as error:
                    outputs = [_failed(generation, error) for generation in scheduler.live]
                self._tell(outputs)
        except BaseException as error:  # nobody shall wait for a thread that has gone
            with self._lock:
                self._worker = None
                deliver(_failed(generation, error) for generation in scheduler.turn_away())

    def _arrange(self, scheduler: Scheduler) -> bool:
        """Let generations join and leave; whether any are left to work on."""
        with self._lock:
            if self._scheduler is None:
                closed = EngineError(_CLOSED)
                deliver(_failed(generation, closed) for generation in scheduler.turn_away())
            scheduler.arrange()
            if not scheduler.live:
                self._worker = None
            return bool(scheduler.live)

    def _step(self, scheduler: Scheduler) -> Outputs:
        started = time.perf_counter()
        with self._lock:
            parts = scheduler.plan()
        with readable_weights(self._checkpoint):
            outputs = _step(scheduler.model, parts, self._masks)
        with self._lock:
            scheduler.settle(parts, time.perf_counter() - started)
        return outputs

    def _tell(self, outputs: Outputs) -> None:
        for _, output in outputs:
            if isinstance(output, GeneratedTokens):
                self._totals.generated_tokens += len(output.tokens)
                self._totals.forced_tokens += output.forced
        deliver(outputs)


def native_model(
    checkpoint: Checkpoint, *, precision: Precision = "exact", threads: int | None = None
) -> _native.Model:
    """The native model over the checkpoint's arrays, which it keeps alive. Raises EngineError."""
    require_memory(checkpoint, precision)
    require_whole(checkpoint)
    stored = {name: (each.dtype, each.data) for name, each in checkpoint.tensors.items()}
    tensors: Matrices = {**stored, **kept_matrices(checkpoint, precision)}
    try:
        with readable_weights(checkpoint):
            model = _native.Model(
                _native_config(checkpoint.config),
                tensors,
                precision=precision,
                threads=threads or available_processors(),
            )
    except ValueError as error:
        raise EngineError(f"the native engine cannot run this model: {error}") from error
    keep_matrices(checkpoint, precision, model.derived())
    return model


def _native_config(config: ModelConfig) -> _native.Config:
    return _native.Config(
        sliding=[kind == "sliding_attention" for kind in config.layer_types],
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        experts=config.experts,
        experts_per_token=config.experts_per_token,
        attention_heads=config.attention_heads,
        key_value_heads=config.key_value_heads,
        head_dim=config.head_dim,
        vocabulary_size=config.vocabulary_size,
        sliding_window=config.sliding_window,
        context_length=config.context_length,
        initial_context_length=config.initial_context_length,
        rope_theta=config.rope_theta,
        rope_scaling_factor=config.rope_scaling_factor,
        rope_beta_slow=config.rope_beta_slow,
        rope_beta_fast=config.rope_beta_fast,
        swiglu_limit=config.swiglu_limit,
        rms_norm_eps=config.rms_norm_eps,
    )


def _context_within(limit: int, sizes: PageSizes, config: ModelConfig) -> int:
    """The context that there is memory for, at most the model's."""
    context = sizes.capacity(limit, config.context_length)
    if context < 2:
        raise EngineError(
            f"the limit of {show_bytes(limit)} for keys and values is too small for this model;"
            f" allow at least {show_bytes(sizes.needed(2))}, better a hundred times as much"
        )
    return context


def _begin(generations: Iterable[Generation]) -> Outputs:
    """Let new generations take the tokens that their constraints put before all others."""
    new = [each for each in generations if not each.begun and not each.over]
    outputs = [_attempted(generation, generation.begin) for generation in new]
    return [(box, output) for box, output in outputs if output != GeneratedTokens(())]


def _step(model: _native.Model, parts: Iterable[Part], masks: Executor) -> Outputs:
    """Run the model once and extend the generations that have read all they have.

    Masks that take time are computed in `masks` while the model runs.
    """
    extended = [part for part in parts if part.rows]
    pending = {
        part: masks.submit(part.generation.allowed)
        for part in extended
        if part.generation.has_slow_mask
    }
    logits = model.step([(part.generation.sequence, part.tokens, part.rows) for part in parts])

    def extend(part: Part, rows: NDArray[np.float32]) -> GeneratedTokens:
        mask = pending[part].result() if part in pending else None
        return part.generation.extend(rows, part.drafted, mask)

    ends = np.cumsum([part.rows for part in extended], dtype=np.intp)
    rows = zip(extended, np.split(logits, ends)[:-1], strict=True)
    return [_attempted(part.generation, partial(extend, part, each)) for part, each in rows]


def _attempted(
    generation: Generation, attempt: Callable[[], GeneratedTokens]
) -> tuple[Mailbox, Output]:
    try:
        return generation.mailbox, attempt()
    except BaseException as error:  # a constraint is foreign code, a panic in Rust no Exception
        return _failed(generation, error)


def _failed(generation: Generation, error: BaseException) -> tuple[Mailbox, Output]:
    generation.ended = True
    if isinstance(error, EngineError):
        return generation.mailbox, error
    if isinstance(error, MemoryError):
        return generation.mailbox, EngineError(
            "there is not enough memory for the next token; shorten the conversation"
        )
    failure = EngineError(f"the generation failed: {error}")
    failure.__cause__ = error
    return generation.mailbox, failure
