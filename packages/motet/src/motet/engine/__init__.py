"""Engines: token ids in, token ids out.

`Engine` is the protocol everything above builds on. `NativeEngine` runs a checkpoint on this
machine's processor; `ScriptedEngine` plays given tokens, for tests. What a model says is decided
here by logits, sampling parameters and an optional constraint; what it means is decided above.
"""

from motet.engine.errors import EngineBusy, EngineError
from motet.engine.native import NativeEngine
from motet.engine.request import (
    Engine,
    FinishReason,
    GeneratedTokens,
    GenerationRequest,
    SamplingParameters,
    TokenConstraint,
    TokenLogprob,
)
from motet.engine.scripted import ScriptedEngine

__all__ = [
    "Engine",
    "EngineBusy",
    "EngineError",
    "FinishReason",
    "GeneratedTokens",
    "GenerationRequest",
    "NativeEngine",
    "SamplingParameters",
    "ScriptedEngine",
    "TokenConstraint",
    "TokenLogprob",
]
