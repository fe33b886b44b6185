"""Exercises in their surroundings: system and developer messages, functions, earlier turns; as ids.

The assistant writes headers in the model's own order (`<|channel|>commentary to=functions.f
<|constrain|>json<|message|>`). Only what the assistant has to write is learned. A situation is one
exercise in a conversation as it comes up later, earlier turns without their chain of thought. A
lesson is several exercises one after the other, all of them learned: a short way to say much, since
the opening is read once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
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
from motet.training.exercise import Call, Exercise, NoProblemError, Split, draw
from motet.training.lexicon import any_word
from motet.training.phrases import phrases
from motet.training.tasks import TASKS
from motet.training.tasks.functions import FunctionSet, function_set, request

MIXTURE: Mapping[str, float] = {
    "arithmetic": 21,
    "ordering": 22,
    "lookup": 15,
    "letters": 17,
    "functions": 20,
    "talk": 5,
}
"""How often each task is trained, relative to the others."""

_EFFORTS = {ReasoningEffort.LOW: 10, ReasoningEffort.MEDIUM: 20, ReasoningEffort.HIGH: 70}


@dataclass(frozen=True)
class Situation:
    """One exercise with the messages before its answer."""

    exercise: Exercise
    effort: ReasoningEffort
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Example:
    """Token ids to learn from.

    `tasks` names the exercises, such as `letters/high`; `owners[i]` is the number of the exercise
    that ids[i] is part of an answer to, or -1 if it is not the assistant's to write.
    """

    ids: list[int]
    owners: list[int]
    tasks: list[str]

    @property
    def learned(self) -> list[bool]:
        """Whether each id is the assistant's to write."""
        return [owner >= 0 for owner in self.owners]


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
        tools = {tool.name: tool for tool in function_set(random).descriptions}
    opening = _opening(random, effort, tuple(tools.values()))
    history = [message for each in earlier for message in _history(random, vocabulary, each)]
    return Situation(exercise, effort, (*opening, *history, Message.user(exercise.question)))


def make_example(situation: Situation, vocabulary: Vocabulary) -> Example:
    """The prompt and everything the assistant has to write after it."""
    prompt = render_for_completion(Conversation(situation.messages), vocabulary)
    parts = [(prompt, False), *_answer(situation.exercise, situation.effort, vocabulary)]
    return Example(
        ids=[token for part, _ in parts for token in part],
        owners=[0 if learned else -1 for part, learned in parts for _ in part],
        tasks=[f"{situation.exercise.task}/{situation.effort}"],
    )


def make_lesson(
    random: Random, vocabulary: Vocabulary, weights: Mapping[str, float], longest: int
) -> Example:
    """Exercises of one effort until `longest` ids are reached, at least one.

    `weights` change the mixture of the tasks, see `drawn_task`.
    """
    effort = random.choices(tuple(_EFFORTS), tuple(_EFFORTS.values()))[0]
    task = drawn_task(random, weights)
    offered = function_set(random) if task == "functions" else None
    messages = _opening(random, effort, offered.descriptions if offered else ())
    ids = [token for each in messages for token in render_message(each, vocabulary)]
    lesson = Example(ids, [-1] * len(ids), [])
    while not lesson.tasks or len(lesson.ids) < longest:
        exercise = _drawn(random, task, offered)
        added = _with_exercise(lesson, exercise, effort, vocabulary)
        if lesson.tasks and len(added.ids) > longest:
            break
        lesson = added
        if not offered or random.random() < 0.25:
            task = drawn_task(random, dict(weights) | ({} if offered else {"functions": 0.0}))
        else:
            task = "functions"
    return lesson


def _drawn(random: Random, task: str, offered: FunctionSet | None) -> Exercise:
    if task == "functions" and offered:
        with suppress(NoProblemError):  # all that can be asked of these functions is held out
            return draw(lambda each: request(each, offered), random, Split.TRAIN)
        task = "talk"
    return draw(TASKS[task], random, Split.TRAIN)


def _with_exercise(
    lesson: Example, exercise: Exercise, effort: ReasoningEffort, vocabulary: Vocabulary
) -> Example:
    question = render_message(Message.user(exercise.question), vocabulary)
    start = [vocabulary.start, *vocabulary.encode("assistant")]
    parts = [([*question, *start], False), *_answer(exercise, effort, vocabulary)]
    number = len(lesson.tasks)
    return Example(
        ids=lesson.ids + [token for part, _ in parts for token in part],
        owners=lesson.owners + [number if learned else -1 for part, learned in parts for _ in part],
        tasks=[*lesson.tasks, f"{exercise.task}/{effort}"],
    )


def _answer(
    exercise: Exercise, effort: ReasoningEffort, vocabulary: Vocabulary
) -> list[tuple[list[int], bool]]:
    """What follows `<|start|>assistant`, in parts, and whether the assistant writes each."""
    parts = [(_thought(exercise, effort, vocabulary), True)]
    if exercise.call:
        parts += [
            (call_ids(exercise.call, vocabulary), True),
            (result_ids(exercise.call, vocabulary), False),
        ]
    return [*parts, (_final(exercise, vocabulary), True)]


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
    owners = [-1] * len(prompt) + [0] * len(answer)
    return Example([*prompt, *answer], owners, ["practice/low"])


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


def _thought(exercise: Exercise, effort: ReasoningEffort, vocabulary: Vocabulary) -> list[int]:
    text = exercise.thoughts.get(effort)
    if not text:
        return []
    encode = vocabulary.encode
    head = [vocabulary.channel, *encode("analysis"), vocabulary.message]
    body = _written(text, exercise, vocabulary)
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
