"""Sampling against transformers' logits processors, numpy and plain arithmetic."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from motet.engine import EngineError, GenerationRequest, SamplingParameters
from motet.engine.sampling import Sampler, probabilities, token_logprob

VOCABULARY = 40


def logits_of(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 3, VOCABULARY).astype(np.float32)


def sampler(prompt: tuple[int, ...] = (0,), **parameters: object) -> Sampler:
    sampling = SamplingParameters(**parameters)  # type: ignore[arg-type]
    return Sampler(GenerationRequest(prompt, sampling), VOCABULARY)


def transformers_distribution(
    logits: NDArray[np.float32], sampling: SamplingParameters
) -> NDArray[np.float64]:
    scores = torch.from_numpy(logits.astype(np.float64))[None]
    ids = torch.zeros((1, 0), dtype=torch.long)
    scores = TemperatureLogitsWarper(sampling.temperature)(ids, scores)
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(ids, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(ids, scores)
    if sampling.min_p:
        scores = MinPLogitsWarper(sampling.min_p)(ids, scores)
    return torch.softmax(scores, -1)[0].numpy()


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 10_000),
    temperature=st.floats(0.2, 3.0),
    top_k=st.integers(0, VOCABULARY + 5),
    top_p=st.floats(0.05, 1.0),
    min_p=st.floats(0.0, 0.9),
)
def test_the_distribution_is_that_of_transformers(
    seed: int, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    sampling = SamplingParameters(temperature, top_p, top_k, min_p)
    logits = logits_of(seed)
    shares = probabilities(logits, sampling)
    wanted = transformers_distribution(logits, sampling)
    np.testing.assert_allclose(shares / shares.sum(), wanted, rtol=1e-9, atol=1e-12)


def test_draws_follow_the_distribution() -> None:
    sampling = SamplingParameters(temperature=0.8, top_p=0.95, top_k=20, min_p=0.01)
    logits = logits_of(1)
    expected = transformers_distribution(logits, sampling)
    draws = 8_000
    drawer = sampler(temperature=0.8, top_p=0.95, top_k=20, min_p=0.01, seed=5)
    counts = np.bincount([drawer.choose(logits).token for _ in range(draws)], minlength=VOCABULARY)
    assert not counts[expected == 0].any()
    kept = expected > 0
    chi_square = ((counts - draws * expected)[kept] ** 2 / (draws * expected[kept])).sum()
    degrees = kept.sum() - 1
    assert chi_square < degrees + 4 * np.sqrt(2 * degrees)


def test_a_seed_decides_the_tokens() -> None:
    def tokens(seed: int | None) -> list[int]:
        drawer = sampler(seed=seed)
        return [drawer.choose(logits_of(i)).token for i in range(50)]

    assert tokens(3) == tokens(3)
    assert tokens(3) != tokens(4)
    assert tokens(None) != tokens(None)


def test_temperature_zero_takes_the_lowest_of_the_best() -> None:
    logits = np.zeros(VOCABULARY, dtype=np.float32)
    logits[[7, 3, 30]] = 2
    assert sampler(temperature=0.0).choose(logits).token == 3


def test_almost_zero_temperature_is_the_arg_max() -> None:
    logits = logits_of(2)
    assert sampler(temperature=1e-300, seed=0).choose(logits).token == logits.argmax()


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), penalty=st.floats(0.5, 2.0), prompt=st.sets(st.integers(0, 39)))
def test_repetition_penalty_is_that_of_transformers(
    seed: int, penalty: float, prompt: set[int]
) -> None:
    ids = (0, *prompt)
    logits = logits_of(seed)
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    wanted = processor(torch.tensor([ids]), torch.from_numpy(logits)[None].clone())[0]
    chosen = sampler(ids, temperature=0.0, repetition_penalty=penalty).choose(logits)
    assert wanted[chosen.token] == wanted.max()


def test_presence_and_frequency_penalties_count_the_answer_alone() -> None:
    logits = np.zeros(VOCABULARY, dtype=np.float32)
    logits[:3] = 3.0, 2.9, 2.0
    drawer = sampler((0, 1, 2), temperature=0.0, presence_penalty=0.5, frequency_penalty=0.25)
    # 0: 3.0, then 2.25, 2.0 (a tie with 2, the lower id wins), 1.75; 1: 2.9, then 2.15, 1.9.
    assert [drawer.choose(logits).token for _ in range(6)] == [0, 1, 0, 1, 0, 2]


def test_log_probabilities_are_those_of_the_model_itself() -> None:
    logits = logits_of(4)
    request = GenerationRequest(
        (0,),
        SamplingParameters(temperature=0.5, top_k=3, seed=1, presence_penalty=1.0),
        top_logprobs=5,
    )
    choice = Sampler(request, VOCABULARY).choose(logits)
    wanted = torch.log_softmax(torch.from_numpy(logits).double(), -1).numpy()
    assert choice.logprob is not None
    assert choice.logprob.token == choice.token
    assert choice.logprob.logprob == pytest.approx(wanted[choice.token])
    likeliest = np.argsort(-logits)[:5]
    assert [token for token, _ in choice.logprob.top] == likeliest.tolist()
    assert [p for _, p in choice.logprob.top] == pytest.approx(wanted[likeliest])


def test_log_probabilities_of_equals_go_by_id_and_end_with_the_vocabulary() -> None:
    logits = np.zeros(4, dtype=np.float32)
    assert [t for t, _ in token_logprob(logits, 2, 3).top] == [0, 1, 2]
    assert len(token_logprob(logits, 2, 20).top) == 4
    assert token_logprob(logits, 2, 0).top == ()


class Only:
    """A constraint that allows a set and notes what it is told."""

    is_slow = False

    def __init__(self, *tokens: int, size: int = VOCABULARY) -> None:
        self.mask = np.zeros(size, dtype=np.bool_)
        self.mask[list(tokens)] = True
        self.accepted: list[int] = []

    def allowed(self) -> NDArray[np.bool_] | None:
        return None if len(self.accepted) > 20 else self.mask

    def accept(self, token: int) -> bool:
        self.accepted.append(token)
        return True

    def forced(self) -> list[int]:
        return []


def test_a_constraint_is_obeyed_and_informed() -> None:
    constraint = Only(5, 9)
    request = GenerationRequest((0,), SamplingParameters(seed=1), constraint=constraint)
    drawer = Sampler(request, VOCABULARY)
    tokens = [drawer.choose(logits_of(i)).token for i in range(60)]
    assert set(tokens[:21]) == {5, 9}
    assert len(set(tokens[21:])) > 2
    assert constraint.accepted == tokens


@pytest.mark.parametrize(
    ("constraint", "complaint"),
    [(Only(), "allows no token"), (Only(1, size=7), "speaks of 7 tokens, the model has 40")],
)
def test_impossible_constraints(constraint: Only, complaint: str) -> None:
    drawer = Sampler(GenerationRequest((0,), constraint=constraint), VOCABULARY)
    with pytest.raises(EngineError, match=complaint):
        drawer.choose(logits_of(0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers(value: float) -> None:
    logits = logits_of(0)
    logits[5] = value
    with pytest.raises(EngineError, match="not numbers"):
        sampler().choose(logits)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"min_p": 1.5},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": 1e39},
        {"presence_penalty": float("inf")},
        {"presence_penalty": -1e39},
        {"frequency_penalty": float("nan")},
        {"seed": -1},
    ],
)
def test_impossible_parameters(wrong: dict[str, float]) -> None:
    with pytest.raises(EngineError, match=f"{next(iter(wrong))} must be"):
        SamplingParameters(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"prompt": ()}, {"maximum_tokens": 0}, {"top_logprobs": -1}])
def test_impossible_requests(wrong: dict[str, object]) -> None:
    with pytest.raises(EngineError, match=f"{next(iter(wrong))} must be"):
        GenerationRequest(**{"prompt": (1,), **wrong})  # type: ignore[arg-type]
