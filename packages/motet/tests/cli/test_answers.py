"""How turns appear, told by scripts instead of a model."""

import asyncio
import io
import json
import signal
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress

import pytest
from rich.console import Console

from motet.agent import Turn, TurnOptions
from motet.cli.answers import (
    THINKING,
    Answer,
    JsonAnswer,
    Outcome,
    PlainAnswer,
    TerminalAnswer,
    play,
)
from motet.cli.conversing import PipeFront, converse
from motet.cli.session import Model, Session
from motet.engine import EngineError, GeneratedTokens, GenerationRequest, ScriptedEngine
from motet.harmony import Conversation, Message, Vocabulary, o200k_harmony

WORDS = o200k_harmony()
MARKS = {f"<|{name}|>": token for name, token in WORDS.special.items()}
THOUGHT = "<|channel|>analysis<|message|>Let me see.<|end|><|start|>assistant"


def script(text: str) -> list[int]:
    """Token ids of harmony text, special tokens by name."""
    tokens: list[int] = []
    while text:
        mark = next((mark for mark in MARKS if text.startswith(mark)), None)
        end = len(mark) if mark else (text.find("<|", 1) if "<|" in text[1:] else len(text))
        tokens += [MARKS[mark]] if mark else WORDS.encode(text[:end])
        text = text[end:]
    return tokens


def final(text: str) -> str:
    return f"<|channel|>final<|message|>{text}<|return|>"


class StoppingEngine(ScriptedEngine):
    """Presses Ctrl-C after its script and would otherwise never end."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        async for generated in super().generate(request):
            yield GeneratedTokens(generated.tokens)
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)


class FailingEngine(ScriptedEngine):
    """Fails after its script."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        async for generated in super().generate(request):
            yield GeneratedTokens(generated.tokens)
        raise EngineError("lost")


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def shown(runner: asyncio.Runner, said: str, answer: Answer, limit: int | None = None) -> Outcome:
    conversation = Conversation((Message.user("Hello"),))
    turn = Turn(
        ScriptedEngine([script(said)]), WORDS, conversation, TurnOptions(maximum_tokens=limit)
    )
    return play(runner, turn, answer)


@pytest.mark.parametrize(
    ("said", "out", "note", "outcome"),
    [
        (THOUGHT + final("It is 5."), "It is 5.\n", "", Outcome.ANSWERED),
        (final("Two\nlines\n"), "Two\nlines\n", "", Outcome.ANSWERED),
        (THOUGHT + "<|channel|>final<|message|>It is", "It is\n", "Cut", Outcome.INCOMPLETE),
        ("<|channel|>analysis<|message|>Hm", "Hm\n", "final channel", Outcome.INCOMPLETE),
        ("<|channel|>analysis<|message|>Hm<|return|>", "Hm\n", "without", Outcome.INCOMPLETE),
        (THOUGHT + final("\n"), "\nLet me see.\n", "without", Outcome.INCOMPLETE),
        ("<|channel|>final It is 5.<|message|><|return|>", "It is 5.\n", "", Outcome.ANSWERED),
        (
            "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
            "{}\n",
            "functions.f",
            Outcome.CALLED,
        ),
    ],
)
def test_a_pipe_gets_the_answer_and_never_loses_one(
    runner: asyncio.Runner,
    capsys: pytest.CaptureFixture[str],
    said: str,
    out: str,
    note: str,
    outcome: Outcome,
) -> None:
    assert shown(runner, said, PlainAnswer()) is outcome
    captured = capsys.readouterr()
    assert captured.out == out
    assert note in captured.err
    assert bool(note) == bool(captured.err)


def test_json_tells_everything(runner: asyncio.Runner, capsys: pytest.CaptureFixture[str]) -> None:
    said = THOUGHT + final("It is 5.")
    assert shown(runner, said, JsonAnswer()) is Outcome.ANSWERED
    report = json.loads(capsys.readouterr().out)
    assert [message["channel"] for message in report["messages"]] == ["analysis", "final"]
    assert report["messages"][1]["content"] == [{"type": "text", "text": "It is 5."}]
    assert report["repairs"] == []
    assert report["finish_reason"] == "stop"
    assert report["generated_tokens"] == len(script(said))
    assert report["prompt_tokens"] > 0


def screen(hide_thinking: bool = False) -> tuple[TerminalAnswer, io.StringIO]:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system="standard", width=80)
    return TerminalAnswer(console, hide_thinking=hide_thinking), written


def test_a_terminal_shows_thoughts_dimmed_and_marked(runner: asyncio.Runner) -> None:
    answer, written = screen()
    shown(runner, THOUGHT + final("It is 5."), answer)
    text = written.getvalue()
    assert THINKING in text
    assert "\x1b[2mLet\x1b[0m" in text
    assert "\x1b[2mIt" not in text
    assert text.endswith("\n\n")


def test_thoughts_can_be_hidden(runner: asyncio.Runner) -> None:
    answer, written = screen(hide_thinking=True)
    shown(runner, THOUGHT + final("It is 5."), answer)
    assert written.getvalue() == "It is 5.\n\n"


def test_no_markup_and_no_escape_sequence_of_the_model_is_obeyed(runner: asyncio.Runner) -> None:
    answer, written = screen()
    shown(runner, final("[bold]x[/nonsense] \x1b[31mred :smile: https://a.b"), answer)
    assert written.getvalue() == "[bold]x[/nonsense] ␛[31mred :smile: https://a.b\n\n"


def session(engine: ScriptedEngine, vocabulary: Vocabulary = WORDS) -> Session:
    return Session(Model(engine, vocabulary, "scripted", dated=False), effort="medium")


def test_a_stopped_answer_stays_in_the_conversation(
    runner: asyncio.Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = StoppingEngine([script("<|channel|>final<|message|>One, two,")])
    talk = session(engine)
    turn = talk.turn("Count.")
    assert play(runner, turn, PlainAnswer()) is Outcome.STOPPED
    talk.keep(turn)
    assert capsys.readouterr() == ("One, two,\n", "Stopped.\n")

    talk.turn("Go on.")
    assert [message.text for message in talk.conversation.messages[1:]] == ["Count.", "One, two,"]


@pytest.mark.parametrize("engine", [StoppingEngine, FailingEngine])
def test_text_without_a_message_token_is_shown_where_a_turn_breaks_off(
    runner: asyncio.Runner, capsys: pytest.CaptureFixture[str], engine: type[ScriptedEngine]
) -> None:
    talk = session(engine([script("<|channel|>final It is 5, I")]))
    turn = talk.turn("What is 2 + 3?")
    with suppress(EngineError):
        play(runner, turn, PlainAnswer())
    assert turn.messages[-1].text == "It is 5, I"
    assert capsys.readouterr().out == "It is 5, I\n"


def test_the_next_prompt_extends_the_last_one_by_what_was_said(runner: asyncio.Runner) -> None:
    engine = ScriptedEngine([script(final("One.")), script(final("Two."))])
    talk = session(engine)
    for text in ("Count.", "Go on."):
        turn = talk.turn(text)
        play(runner, turn, PlainAnswer())
        talk.keep(turn)
    first, second = (list(request.prompt) for request in engine.requests)
    assert second[: len(first)] == first


def prompts(engine: ScriptedEngine) -> list[str]:
    return [WORDS.decode(request.prompt) for request in engine.requests]


def pipe(
    monkeypatch: pytest.MonkeyPatch,
    runner: asyncio.Runner,
    engine: ScriptedEngine,
    said: Sequence[str],
) -> bool:
    text = io.TextIOWrapper(io.BytesIO("".join(f"{line}\n" for line in said).encode()))
    monkeypatch.setattr("sys.stdin", text)
    return converse(runner, session(engine), PipeFront())


def test_commands(
    monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ScriptedEngine([script(final(text)) for text in ("A.", "B.", "C.")])
    said = [
        "Hi.",
        "/effort high",
        "",
        "/usr/bin is?",
        "/new",
        "/help",
        "/sing",
        "Ho.",
        "/exit",
        "X",
    ]
    assert pipe(monkeypatch, runner, engine, said)

    out, err = capsys.readouterr()
    assert out == "A.\nB.\nC.\n"
    assert "/effort LEVEL" in err
    assert "no command /sing" in err
    first, second, third = prompts(engine)
    assert "Reasoning: medium" in first
    assert "Reasoning: high" in second
    assert "Hi." in second
    assert "/usr/bin is?" in second
    assert "Hi." not in third
    assert "Reasoning: high" in third


def test_a_failed_turn_is_named_and_the_next_line_is_answered(
    monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ScriptedEngine([[EngineError("the prompt is too long")], script(final("B."))])
    assert not pipe(monkeypatch, runner, engine, ["Hi.", "Ho."])
    out, err = capsys.readouterr()
    assert out == "B.\n"
    assert err == "motet: the prompt is too long\n"
    assert "Hi." not in prompts(engine)[1]


def test_ctrl_c_in_a_pipe_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner
) -> None:
    with pytest.raises(KeyboardInterrupt):
        pipe(monkeypatch, runner, StoppingEngine([script(final("A."))[:-1]]), ["Hi.", "Ho."])
