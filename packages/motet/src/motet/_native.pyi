from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np
from numpy.typing import NDArray

class UnreadableWeightsError(OSError): ...  # from opening a model, and from any step after

class Config:
    def __init__(
        self,
        *,
        sliding: SequenceOf[bool],
        hidden_size: int,
        intermediate_size: int,
        experts: int,
        experts_per_token: int,
        attention_heads: int,
        key_value_heads: int,
        head_dim: int,
        vocabulary_size: int,
        sliding_window: int,
        context_length: int,
        initial_context_length: float,
        rope_theta: float,
        rope_scaling_factor: float,
        rope_beta_slow: float,
        rope_beta_fast: float,
        swiglu_limit: float,
        rms_norm_eps: float,
    ) -> None: ...

PAGE_POSITIONS: int
SEARCHED_VOCABULARY: int  # from so many tokens on the head is searched in 4 bits
REFINED_LOGITS: int  # that are then computed in 8 for each token

class Page:  # keys and values of so many positions, in the layers of one kind
    @property
    def bytes(self) -> int: ...
    @property
    def shared(self) -> bool: ...  # with a sequence or another owner

class Sequence:  # none of its methods may be called while a step reads or extends it
    @property
    def length(self) -> int: ...
    def clear(self) -> None: ...
    def skip(self, count: int) -> None: ...  # positions of zeros, for measurements
    def trim(self) -> None: ...  # gives back what no window reaches any more
    def truncate(self, length: int) -> None: ...  # forgets the positions behind
    def full_page(self, index: int) -> Page: ...
    def sliding_page(self, index: int) -> Page | None: ...  # None where trimmed
    def adopt(self, full: SequenceOf[Page], sliding: SequenceOf[Page]) -> None: ...

class Model:
    def __init__(
        self,
        config: Config,
        tensors: Mapping[str, tuple[str, NDArray[Any]]],  # dtype as in motet.checkpoint
        precision: str,
        threads: int,
    ) -> None: ...
    @property
    def threads(self) -> int: ...
    @property
    def instruction_set(self) -> str: ...
    def derived(self) -> dict[str, tuple[str, NDArray[np.uint8]]]: ...  # dtype and blocks by name
    @property
    def cache_bytes(self) -> int: ...
    @property
    def page_bytes(self) -> tuple[int, int]: ...  # of the full and of the sliding layers
    def sequence(self) -> Sequence: ...
    def step(
        self, batch: SequenceOf[tuple[Sequence, NDArray[np.int32], int]]
    ) -> NDArray[np.float32]: ...
    def bring_large_pages(self) -> bool: ...  # some milliseconds' worth; whether more is left

def multiply(
    format_: str,
    even_odd: bool,
    values: NDArray[np.uint8],
    scales: NDArray[np.uint8],
    x: NDArray[np.float32],
    fast: bool,
) -> NDArray[np.float32]: ...
def quantise(
    x: NDArray[np.float32], even_odd: bool
) -> tuple[NDArray[np.int8], NDArray[np.float32]]: ...
def encode(x: NDArray[np.float32], bits: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]: ...
def arithmetic_speed(
    threads: int, seconds: float
) -> tuple[float, float]: ...  # float32 and int8 operations a second
def reading_speed(threads: int, size: int, seconds: float) -> float: ...  # bytes a second
