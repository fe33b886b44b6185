"""No sequence of tokens makes the parser raise, lose a byte, or tell one twice."""

from __future__ import annotations

from collections import Counter

import pytest
from parser_fuzz import Sequences, check

from motet.harmony import HarmonyEvent, HarmonyParser, RepairKind, Role, TextDelta

COUNT = 15_000


def test_every_byte_of_random_and_mutated_sequences_is_accounted_for() -> None:
    sequences = Sequences(seed=1)
    kinds: Counter[RepairKind] = Counter()
    well_formed = 0
    for _ in range(COUNT):
        tokens, role, tools = sequences.one()
        parser = check(tokens, sequences.vocabulary, role, tools)
        kinds.update({repair.kind for repair in parser.repairs})
        well_formed += not parser.repairs
    assert set(kinds) == set(RepairKind)
    assert well_formed > COUNT // 100


def test_a_parser_that_loses_or_repeats_a_byte_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sequences = Sequences(seed=2)
    header = sequences.vocabulary.encode("Hi")
    honest_repair, honest_feed = HarmonyParser._repair, HarmonyParser.feed

    def forgetful(self: HarmonyParser, kind: RepairKind, detail: str = "", added: str = "") -> None:
        honest_repair(self, kind, detail[1:], added)

    def repeating(self: HarmonyParser, token: int) -> list[HarmonyEvent]:
        events = honest_feed(self, token)
        texts = [event for event in events if isinstance(event, TextDelta)]
        return [*events, *texts]

    tokens = [sequences.vocabulary.end, *header, sequences.vocabulary.message, *header]
    check(tokens, sequences.vocabulary, Role.ASSISTANT)
    for name, dishonest in (("_repair", forgetful), ("feed", repeating)):
        with monkeypatch.context() as patch:
            patch.setattr(HarmonyParser, name, dishonest)
            with pytest.raises(AssertionError):
                check(tokens, sequences.vocabulary, Role.ASSISTANT)
