"""What the native model refuses, and that a refusal changes nothing."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from random_models import random_checkpoint, random_config, random_tokens
from this_machine import INSTRUCTION_SETS, model_on, not_sanitized

from motet import _native
from motet.checkpoint import Tensor
from motet.engine import EngineError
from motet.engine.native import Precision, native_model

CHECKPOINT = random_checkpoint(random_config(3))
CONFIG = CHECKPOINT.config
PRECISIONS: tuple[Precision, ...] = ("exact", "fast", "fast4")
BLOCKS = "model.layers.0.mlp.experts.down_proj_blocks"


def ids(*tokens: int) -> NDArray[np.int32]:
    return np.array(tokens, dtype=np.int32)


@pytest.mark.parametrize(
    ("tokens", "logit_rows", "complaint"),
    [
        (ids(), 0, "at least one token"),
        (ids(1), 2, "more logits wanted"),
        (ids(1, -1), 1, "token -1 is not in the vocabulary"),
        (ids(1, CONFIG.vocabulary_size), 1, "is not in the vocabulary"),
        (np.zeros(CONFIG.context_length, np.int32), 1, "grow to 4097 tokens.*context is 4096"),
    ],
)
def test_impossible_steps_change_nothing(
    tokens: NDArray[np.int32], logit_rows: int, complaint: str
) -> None:
    model = native_model(CHECKPOINT)
    sequence, bystander = model.sequence(), model.sequence()
    model.step([(sequence, ids(1), 0)])
    with pytest.raises(ValueError, match=complaint):
        model.step([(bystander, ids(2), 1), (sequence, tokens, logit_rows)])
    assert (sequence.length, bystander.length) == (1, 0)
    after = model.step([(sequence, ids(2), 1)])
    assert np.array_equal(after, model.step([(model.sequence(), ids(1, 2), 1)]))


def test_a_sequence_takes_part_once_and_only_in_its_own_model() -> None:
    model = native_model(CHECKPOINT)
    sequence = model.sequence()
    with pytest.raises(ValueError, match="twice"):
        model.step([(sequence, ids(1), 1), (sequence, ids(1), 1)])
    with pytest.raises(ValueError, match="another model"):
        model.step([(native_model(CHECKPOINT).sequence(), ids(1), 1)])
    with pytest.raises(ValueError, match="needs sequences"):
        model.step([(None, ids(1), 1)])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        model.step([(sequence, ids(1), -1)])
    assert model.step([]).shape == (0, CONFIG.vocabulary_size)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda data: data[:-1], "has shape .*but the config needs"),
        (lambda data: data[..., ::2], "not a contiguous array"),
        (lambda data: data.astype(np.uint16), "is U8, but its array is of another"),
        (lambda data: data.astype(np.float32), "is U8, but its array is of another"),
    ],
)
def test_tensors_that_contradict_the_config(
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], complaint: str
) -> None:
    tensor = CHECKPOINT.tensors[BLOCKS]
    changed = Tensor(tensor.name, tensor.dtype, tensor.shape, change(tensor.data))
    broken = replace(CHECKPOINT, tensors={**CHECKPOINT.tensors, BLOCKS: changed})
    with pytest.raises(EngineError, match=f"down_proj_blocks.*{complaint}"):
        native_model(broken)


def test_a_missing_tensor() -> None:
    tensors = {n: t for n, t in CHECKPOINT.tensors.items() if n != "lm_head.weight"}
    with pytest.raises(EngineError, match=r"lm_head\.weight is missing"):
        native_model(replace(CHECKPOINT, tensors=tensors))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"hidden_size": 33}, "hidden_size is 33, but must be a multiple of 32"),
        ({"intermediate_size": 0}, "intermediate_size is 0"),
        ({"experts_per_token": 9}, "experts_per_token is 9"),
        ({"key_value_heads": 3}, "attention_heads must be a multiple"),
        ({"head_dim": 9}, "attention_heads . head_dim is 36|head_dim must be even"),
        ({"head_dim": 512}, "head_dim is 512, but must be 1 to 256"),
        ({"sliding": []}, "the number of layers is 0"),
        ({"rope_theta": 1.0}, "rope_theta must be a number above 1"),
        ({"rope_scaling_factor": float("nan")}, "rope_scaling_factor must be a positive number"),
        ({"hidden_size": 2**40}, "hidden_size is 1099511627776, but must be 1 to"),
    ],
)
def test_impossible_configs(changes: dict[str, object], complaint: str) -> None:
    possible: dict[str, object] = {
        "sliding": [True, False],
        "hidden_size": 64,
        "intermediate_size": 32,
        "experts": 4,
        "experts_per_token": 2,
        "attention_heads": 4,
        "key_value_heads": 2,
        "head_dim": 16,
        "vocabulary_size": 100,
        "sliding_window": 8,
        "context_length": 128,
        "initial_context_length": 64,
        "rope_theta": 10_000.0,
        "rope_scaling_factor": 32.0,
        "rope_beta_slow": 1.0,
        "rope_beta_fast": 32.0,
        "swiglu_limit": 7.0,
        "rms_norm_eps": 1e-5,
    }
    _native.Config(**possible)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=complaint):
        _native.Config(**possible | changes)  # type: ignore[arg-type]


def test_the_model_keeps_the_arrays_it_reads_alive() -> None:
    tokens = random_tokens(CONFIG, 20)
    checkpoint = random_checkpoint(CONFIG)
    model = native_model(checkpoint)
    wanted = model.step([(model.sequence(), tokens, 1)])
    del checkpoint
    junk = [np.full(1 << 16, 7, np.uint8) for _ in range(200)]
    assert np.array_equal(model.step([(model.sequence(), tokens, 1)]), wanted)
    assert junk


def test_models_come_and_go_without_a_trace() -> None:
    tokens = random_tokens(CONFIG, 3)
    for _ in range(50):
        model = native_model(CHECKPOINT, threads=3)
        model.step([(model.sequence(), tokens, 1)])


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("row", [0, 1], ids=["gate", "linear"])
def test_a_weight_that_is_no_number_is_not_clamped_into_one(
    row: int, precision: Precision, isa: str
) -> None:
    name = "model.layers.0.mlp.experts.gate_up_proj_bias"
    tensor = CHECKPOINT.tensors[name]
    data = tensor.data.copy()
    data[:, row] = 0x7FC0  # the bf16 pattern of NaN
    changed = Tensor(name, "BF16", tensor.shape, data)
    spoilt = replace(CHECKPOINT, tensors={**CHECKPOINT.tensors, name: changed})
    model = model_on(isa, spoilt, precision=precision)
    assert np.isnan(model.step([(model.sequence(), ids(1, 2, 3), 1)])).any()


FEW_THREADS = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from random_models import random_checkpoint, random_config, random_tokens
from motet.engine.native import native_model

checkpoint = random_checkpoint(random_config(3))
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 300_000_000  # a thread's stack takes 8 MB of it
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
model = native_model(checkpoint, threads=200)
assert 1 <= model.threads < 200, model.threads
model.step([(model.sequence(), random_tokens(checkpoint.config, 100), 1)])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_a_system_that_gives_few_threads() -> None:
    run = [sys.executable, "-c", FEW_THREADS, str(Path(__file__).parent)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from random_models import random_checkpoint, random_config, random_tokens
from motet.engine.native import native_model

def limit(room):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, -1))

checkpoint = random_checkpoint(random_config(3))
tokens = random_tokens(checkpoint.config, 3000)
plain = native_model(checkpoint, precision=sys.argv[2], threads=2)
wanted = plain.step([(plain.sequence(), tokens, 1)])
few = plain.step([(plain.sequence(), tokens[:20], 20)])
model = native_model(checkpoint, precision=sys.argv[2], threads=2)
sequence, failures = model.sequence(), 0
model.step([(sequence, tokens[:100], 0)])
for room in range(0, 100_000_000, 1_000_000):
    limit(room)
    try:
        logits = model.step([(sequence, tokens[100:], 1)])
    except MemoryError:
        logits = None
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    if logits is not None:
        break
    failures += 1
    assert sequence.length == 100
    assert np.array_equal(model.step([(model.sequence(), tokens[:20], 20)]), few)
assert failures > 5, failures
assert np.array_equal(logits, wanted)
del sequence
assert model.cache_bytes == 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
@not_sanitized(reason="AddressSanitizer ends a program that is out of memory")
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_a_step_that_runs_out_of_memory_changes_nothing(precision: str) -> None:
    run = [sys.executable, "-c", LITTLE_MEMORY, str(Path(__file__).parent), precision]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_damaged_scales_do_not_crash(precision: Precision, isa: str) -> None:
    name = BLOCKS.replace("blocks", "scales")
    for scale in (0, 1, 254, 255):
        tensor = CHECKPOINT.tensors[name]
        data = np.full_like(tensor.data, scale)
        changed = Tensor(name, "U8", tensor.shape, data)
        damaged = replace(CHECKPOINT, tensors={**CHECKPOINT.tensors, name: changed})
        model = model_on(isa, damaged, precision=precision)
        logits = model.step([(model.sequence(), random_tokens(CONFIG, 70), 1)])
        assert np.isfinite(logits).all() == (scale < 2)
