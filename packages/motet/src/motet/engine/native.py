"""The engine on this machine's processor.

One worker thread runs the model. As long as there are generations it makes steps, each with tokens
of all of them; requests join and leave between steps. The thread ends when there is nothing to do
and a new request starts another, so an idle engine costs nothing and keeps no program alive.

A generation that fails, by its constraint or its logits, takes no other with it. If a whole step
fails, the live generations end with an EngineError and the engine goes on.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from motet import _native
from motet.checkpoint import Checkpoint, ModelConfig
from motet.engine.delivery import Mailbox, Output, deliver
from motet.engine.derived import Matrices, keep_matrices, kept_matrices
from motet.engine.errors import EngineError
from motet.engine.memory import require_memory
from motet.engine.processors import available_processors
from motet.engine.readable import readable_weights, require_whole
from motet.engine.request import GeneratedTokens, GenerationRequest
from motet.engine.sampling import Sampler
from motet.engine.scheduling import LIVE_GENERATIONS, Generation, plan_step

Precision: TypeAlias = Literal["exact", "fast", "fast4"]
Outputs: TypeAlias = list[tuple[Mailbox, Output]]

_CLOSED = "the engine has been closed; make a new one"


class NativeEngine:
    """Runs a checkpoint in place, from its mapped files.

    `precision`: "fast" rounds activations, attention matrices and head to 8 bits in blocks of 32,
    "fast4" the matrices to 4 bits, "exact" computes in float32 on the weights of the file.
    `threads` defaults to the processors this process may use. Raises EngineError if no native model
    can be made of the checkpoint.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        precision: Precision = "fast",
        threads: int | None = None,
    ) -> None:
        self.obeys_constraints = True
        self.vocabulary_size = checkpoint.config.vocabulary_size
        self.context_length = checkpoint.config.context_length
        self._checkpoint = checkpoint
        self._model: _native.Model | None = native_model(
            checkpoint, precision=precision, threads=threads
        )
        self._lock = threading.Lock()
        self._waiting: deque[Generation] = deque()
        self._live: list[Generation] = []
        self._worker: threading.Thread | None = None
        self._masks = ThreadPoolExecutor(1, thread_name_prefix="motet-masks")

    @property
    def cache_bytes(self) -> int:
        """Memory that generations hold for their keys and values."""
        model = self._model
        return model.cache_bytes if model else 0

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        """Yield the continuation of the prompt as it comes; raises EngineError."""
        mailbox = self._submit(request)
        try:
            while True:
                generated = await mailbox.next()
                yield generated
                if generated.finish:
                    return
        finally:
            mailbox.abandoned = True

    async def close(self) -> None:
        """End all generations with an EngineError and free the model."""
        with self._lock:
            self._model = None
            worker = self._worker
        if worker:
            await asyncio.to_thread(worker.join)
        self._masks.shutdown(wait=False)

    def _submit(self, request: GenerationRequest) -> Mailbox:
        prompt = self._checked_prompt(request)
        with self._lock:
            if self._model is None:
                raise EngineError(_CLOSED)
            room = self.context_length - prompt.size
            generation = Generation(
                request,
                prompt,
                self._model.sequence(),
                Sampler(request, self.vocabulary_size),
                min(request.maximum_tokens or room, room),
            )
            self._worker = self._worker or self._new_worker()
            self._waiting.append(generation)  # the worker looks once it gets the lock
        return generation.mailbox

    def _new_worker(self) -> threading.Thread:
        worker = threading.Thread(target=self._work, name="motet-engine")
        try:
            worker.start()
        except RuntimeError as error:
            raise EngineError(
                "the system gives no thread to run the model in; end other programs and try again"
            ) from error
        return worker

    def _checked_prompt(self, request: GenerationRequest) -> NDArray[np.int32]:
        length = len(request.prompt)
        if length >= self.context_length:
            raise EngineError(
                f"the prompt has {length} tokens, but the model's context of {self.context_length}"
                " has to hold at least one token of the answer too; shorten the conversation"
            )
        for token in request.prompt:
            if not 0 <= token < self.vocabulary_size:
                raise EngineError(
                    f"the prompt holds the token {token}, but the model's vocabulary has"
                    f" {self.vocabulary_size} tokens; was it rendered for another model?"
                )
        return np.array(request.prompt, dtype=np.int32)

    def _work(self) -> None:
        while model := self._arrange():
            deliver(_begin(self._live))
            try:
                with readable_weights(self._checkpoint):
                    outputs = _step(model, self._live, self._masks)
            except BaseException as error:  # whatever ended this thread would leave callers waiting
                outputs = [_failed(generation, error) for generation in self._live]
            deliver(outputs)

    def _arrange(self) -> _native.Model | None:
        """Let generations join and leave; None if the worker has nothing left to do."""
        with self._lock:
            if self._model is None:
                self._turn_away()
            self._live = [generation for generation in self._live if _stays(generation)]
            while self._waiting and len(self._live) < LIVE_GENERATIONS:
                generation = self._waiting.popleft()
                if not generation.over:
                    self._live.append(generation)
            if not self._live:
                self._worker = None
                return None
            return self._model

    def _turn_away(self) -> None:
        generations = (*self._live, *self._waiting)
        deliver(_failed(generation, EngineError(_CLOSED)) for generation in generations)


def _stays(generation: Generation) -> bool:
    """Whether it takes part in another step; if not, its cache is freed at once."""
    if generation.over:
        generation.sequence.clear()
    return not generation.over


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


def _begin(generations: Iterable[Generation]) -> Outputs:
    """Let new generations take the tokens that their constraints put before all others."""
    new = [generation for generation in generations if not generation.begun]
    outputs = [_attempted(generation, generation.begin) for generation in new]
    return [(box, output) for box, output in outputs if output != GeneratedTokens(())]


def _step(model: _native.Model, generations: Iterable[Generation], masks: Executor) -> Outputs:
    """Run the model once and extend the generations that have read all they have.

    Masks that take time are computed in `masks` while the model runs.
    """
    parts = plan_step(generation for generation in generations if not generation.over)
    extended = [part.generation for part in parts if part.wants_logits]
    pending = {g: masks.submit(g.allowed) for g in extended if g.has_slow_mask}
    logits = model.step([(p.generation.sequence, p.tokens, p.wants_logits) for p in parts])
    for part in parts:
        part.generation.read(part.tokens.size)

    def extend(generation: Generation, row: NDArray[np.float32]) -> GeneratedTokens:
        mask = pending[generation].result() if generation in pending else None
        return generation.extend(row, mask)

    rows = zip(extended, logits, strict=True)
    return [_attempted(generation, partial(extend, generation, row)) for generation, row in rows]


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
