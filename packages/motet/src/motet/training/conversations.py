"""Exercises in their surroundings: system and developer messages, functions, earlier turns; as ids.

The assistant writes headers in the model's own order (`<|channel|>commentary to=functions.f
<|constrain|>json<|message|>`). Only what the assistant has to write is learned; earlier turns stand
in the prompt as they would in a conversation, without their chain of thought.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from motet.harmony import (
    Conversation,
    DeveloperContent,
    Message,
    ReasoningEffort,
    Role,
    SystemContent,
    ToolDescription,
    ToolNamespace,
    Vocabulary,
    render_for_completion,
    render_message,
)
from motet.training.exercise import Call, Exercise, Split, draw
from motet.training.lexicon import any_word
from motet.training.phrases import phrases
from motet.training.tasks import TASKS
from motet.training.tasks.functions import offered_functions

MIXTURE: Mapping[str, float] = {
    "arithmetic": 22,
    "ordering": 20,
    "lookup": 17,
    "letters": 18,
    "functions": 17,
    "talk": 6,
}
"""How often each task is trained, relative to the others."""

_EFFORTS = {ReasoningEffort.LOW: 10, ReasoningEffort.MEDIUM: 34, ReasoningEffort.HIGH: 56}


@dataclass(frozen=True)
class Situation:
    """One exercise with the messages before its answer."""

    exercise: Exercise
    effort: ReasoningEffort
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Example:
    """Token ids to learn from; `learned[i]` tells whether ids[i] is the assistant's to write."""

    ids: list[int]
    learned: list[bool]


def drawn_task(random: Random, weights: Mapping[str, float]) -> str:
    """A task by the mixture, whose shares are multiplied with the `weights` there are."""
    shares = [share * weights.get(task, 1.0) for task, share in MIXTURE.items()]
    return random.choices(tuple(MIXTURE), shares)[0]


def make_situation(
    random: Random,
    vocabulary: Vocabulary,
    split: Split,
    task: str | None = None,
    effort: ReasoningEffort | None = None,
) -> Situation:
    """A random exercise of `split` in random surroundings; None: task or effort by the mixture."""
    task = task or drawn_task(random, {})
    effort = effort or random.choices(tuple(_EFFORTS), tuple(_EFFORTS.values()))[0]
    exercise = draw(TASKS[task], random, split)
    earlier = [_earlier(random, split) for _ in range(random.choices((0, 1, 2), (87, 10, 3))[0])]
    tools = {tool.name: tool for each in (*earlier, exercise) for tool in each.tools}
    if not tools and random.random() < 0.06:
        tools = {tool.name: tool for tool in offered_functions(random, random.choice((1, 1, 2)))}
    opening = _opening(random, effort, tuple(tools.values()))
    history = [message for each in earlier for message in _history(random, vocabulary, each)]
    return Situation(exercise, effort, (*opening, *history, Message.user(exercise.question)))


def make_example(situation: Situation, vocabulary: Vocabulary) -> Example:
    """The prompt and everything the assistant has to write after it."""
    exercise = situation.exercise
    prompt = render_for_completion(Conversation(situation.messages), vocabulary)
    parts = [
        (prompt, False),
        (_thought(situation, vocabulary), True),
    ]
    if exercise.call:
        parts += [
            (call_ids(exercise.call, vocabulary), True),
            (result_ids(exercise.call, vocabulary), False),
        ]
    parts.append((_final(exercise, vocabulary), True))
    ids = [token for part, _ in parts for token in part]
    learned = [flag for part, flag in parts for _ in part]
    return Example(ids, learned)


def make_practice(random: Random, vocabulary: Vocabulary, longest: int) -> Example:
    """Copying 3 to `longest` random tokens or letters of words, at first without any context."""
    count = random.randint(3, longest)
    if random.random() < 0.5:
        ordinary = vocabulary.size - len(vocabulary.special)
        text = random.choices(range(ordinary), k=count)
    else:
        text = vocabulary.encode(" ".join(any_word(random) for _ in range(1 + count // 5)))[:count]
    opening = _opening(random, ReasoningEffort.LOW, ()) if random.random() < longest / 100 else []
    before = render_for_completion(Conversation(tuple(opening)), vocabulary, Role.USER)
    prompt = [
        *before,
        vocabulary.message,
        *text,
        vocabulary.end,
        vocabulary.start,
        *vocabulary.encode("assistant"),
    ]
    answer = [
        vocabulary.channel,
        *vocabulary.encode("final"),
        vocabulary.message,
        *text,
        vocabulary.return_,
    ]
    return Example([*prompt, *answer], [False] * len(prompt) + [True] * len(answer))


def call_ids(call: Call, vocabulary: Vocabulary) -> list[int]:
    """A call as the model writes it after `<|start|>assistant`."""
    encode = vocabulary.encode
    header = [
        *encode("commentary"),
        *encode(f" to=functions.{call.name}"),
        *encode(" "),
        vocabulary.constrain,
        *encode("json"),
    ]
    return [
        vocabulary.channel,
        *header,
        vocabulary.message,
        *encode(arguments_text(call)),
        vocabulary.call,
    ]


def arguments_text(call: Call) -> str:
    """The arguments as the model is to write them: compact JSON."""
    return json.dumps(call.arguments, separators=(",", ":"), ensure_ascii=False)


def result_ids(call: Call, vocabulary: Vocabulary) -> list[int]:
    """The function's result and the start of the next message by the assistant."""
    result = render_message(Message.tool(f"functions.{call.name}", call.result), vocabulary)
    return [*result, vocabulary.start, *vocabulary.encode("assistant")]


def sample_texts(count: int, seed: int) -> list[str]:
    """The texts of `count` training conversations, special tokens as line breaks.

    What the assistant writes letter by letter is left out.
    """
    from motet.harmony import o200k_harmony

    random, vocabulary = Random(seed), o200k_harmony()
    texts = []
    for _ in range(count):
        situation = make_situation(random, vocabulary, Split.TRAIN)
        example = make_example(situation, vocabulary)
        letters = situation.exercise.letter_by_letter
        pairs = zip(example.ids, example.learned, strict=True)
        texts.append(_plain([token for token, own in pairs if not (own and letters)], vocabulary))
    return texts


def _plain(ids: list[int], vocabulary: Vocabulary) -> str:
    (newline,) = vocabulary.encode("\n")
    return vocabulary.decode(newline if vocabulary.is_special(token) else token for token in ids)


def _thought(situation: Situation, vocabulary: Vocabulary) -> list[int]:
    text = situation.exercise.thoughts.get(situation.effort)
    if not text:
        return []
    encode = vocabulary.encode
    head = [vocabulary.channel, *encode("analysis"), vocabulary.message]
    body = _written(text, situation.exercise, vocabulary)
    return [*head, *body, vocabulary.end, vocabulary.start, *encode("assistant")]


def _final(exercise: Exercise, vocabulary: Vocabulary) -> list[int]:
    head = [vocabulary.channel, *vocabulary.encode("final"), vocabulary.message]
    return [*head, *_written(exercise.answer, exercise, vocabulary), vocabulary.return_]


def _written(text: str, exercise: Exercise, vocabulary: Vocabulary) -> list[int]:
    if not exercise.letter_by_letter:
        return vocabulary.encode(text)
    return [token for character in text for token in vocabulary.encode(character)]


def _earlier(random: Random, split: Split) -> Exercise:
    task = random.choices(
        ("talk", "arithmetic", "letters", "ordering", "lookup", "functions"), (6, 5, 4, 3, 2, 2)
    )[0]
    return draw(TASKS[task], random, split)


def _history(random: Random, vocabulary: Vocabulary, exercise: Exercise) -> list[Message]:
    messages = [Message.user(exercise.question)]
    if exercise.call:
        name = f"functions.{exercise.call.name}"
        call = Message.assistant(
            arguments_text(exercise.call), "commentary", name, "<|constrain|>json"
        )
        if random.random() < 0.5:
            call = Message(
                call.author,
                call.content,
                call.channel,
                call.recipient,
                call.content_type,
                tokens=tuple(call_ids(exercise.call, vocabulary)),
            )
        messages += [call, Message.tool(name, exercise.call.result)]
    return [*messages, Message.assistant(exercise.answer)]


def _opening(
    random: Random, effort: ReasoningEffort, tools: tuple[ToolDescription, ...]
) -> list[Message]:
    default = SystemContent()
    system = SystemContent(
        model_identity=default.model_identity
        if random.random() < 0.92
        else random.choice(phrases("conversations", "identities")),
        knowledge_cutoff=default.knowledge_cutoff if random.random() < 0.96 else None,
        reasoning_effort=effort,
        conversation_start_date=_date(random) if random.random() < 0.5 else None,
    )
    instructions = (
        random.choice(phrases("conversations", "instructions"))
        if random.random() < (0.5 if tools else 0.25)
        else None
    )
    if instructions is None and not tools:
        return [Message.system(system)]
    namespaces = (ToolNamespace.functions(tools),) if tools else ()
    return [Message.system(system), Message.developer(DeveloperContent(instructions, namespaces))]


def _date(random: Random) -> str:
    return f"{random.randint(2023, 2032)}-{random.randint(1, 12):02}-{random.randint(1, 28):02}"
