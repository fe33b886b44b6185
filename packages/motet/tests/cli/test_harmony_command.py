"""`motet harmony render` and `parse`, as another program would use them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from openai_harmony import Conversation as OracleConversation
from openai_harmony import HarmonyEncoding
from openai_harmony import Role as OracleRole
from processes import COMMAND, motet

from motet.harmony import Vocabulary

CONVERSATION: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": [{"type": "system_content", "reasoning_effort": "High"}]},
        {
            "role": "developer",
            "content": [{"type": "developer_content", "instructions": "Be brief."}],
        },
        {"role": "user", "content": "¿Qué? 日本 <|end|> \x1b[31m"},
        {"role": "assistant", "channel": "analysis", "content": "Hm."},
        {"role": "assistant", "channel": "final", "content": "Sí."},
    ]
}


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ((), "render_conversation"),
        (("--role", "assistant"), "render_conversation_for_completion"),
        (("--training",), "render_conversation_for_training"),
    ],
)
def test_render_prints_the_tokens_openai_harmony_makes(
    harmony_oracle: HarmonyEncoding, options: tuple[str, ...], method: str
) -> None:
    done = motet(
        "harmony", "render", "--retention", "reference", *options, stdin=json.dumps(CONVERSATION)
    )
    oracle = OracleConversation.from_json(json.dumps(CONVERSATION))
    role = [OracleRole.ASSISTANT] if "completion" in method else []
    expected = getattr(harmony_oracle, method)(oracle, *role)
    answer = json.loads(done.stdout)
    assert answer["tokens"] == expected
    assert answer["text"] == harmony_oracle.decode_utf8(expected)
    assert (done.returncode, done.stderr) == (0, "")


def test_parse_reads_what_render_wrote(tmp_path: Path) -> None:
    file = tmp_path / "conversation.json"
    file.write_text(json.dumps(CONVERSATION), encoding="utf-8")
    rendered = motet("harmony", "render", "--retention", "all", file)
    parsed = json.loads(motet("harmony", "parse", stdin=rendered.stdout).stdout)
    assert parsed["repairs"] == []
    assert [message["role"] for message in parsed["messages"]] == [
        message["role"] for message in CONVERSATION["messages"]
    ]
    assert parsed["messages"][2]["content"] == [
        {"type": "text", "text": CONVERSATION["messages"][2]["content"]}
    ]
    OracleConversation.from_json(json.dumps({"messages": parsed["messages"]}))


def test_parse_reads_a_completion_in_a_vocabulary_of_its_own_and_tells_its_repairs(
    random_model: Path, small_vocabulary: Vocabulary
) -> None:
    words = small_vocabulary
    tokens = [*words.encode("final"), words.message, *words.encode("Hello"), words.return_]
    done = motet("harmony", "parse", "--vocabulary", random_model, stdin=json.dumps(tokens))
    answer = json.loads(done.stdout)
    assert answer["messages"] == [
        {
            "role": "assistant",
            "name": None,
            "channel": "final",
            "content": [{"type": "text", "text": "Hello"}],
        }
    ]
    assert {"kind", "position", "detail", "added"} == answer["repairs"][0].keys()
    assert done.returncode == 0


def test_a_bad_line_is_answered_by_an_error_and_the_others_as_ever() -> None:
    good = json.dumps(CONVERSATION)
    bad = ["[1, 2]", "", "{", '{"messages": [{"role": "alien", "content": ""}]}', "[" * 50_000]
    done = motet("harmony", "render", "--jsonl", stdin="\n".join([good, *bad, good]))
    answers = lines(done.stdout)
    assert ["error" in answer for answer in answers] == [False, *[True] * len(bad), False]
    assert "alien" in answers[4]["error"]
    assert answers[0] == answers[-1]
    assert (done.returncode, done.stderr) == (2, "")


def test_bad_token_lines() -> None:
    bad = ['{"tokens": "x"}', "[1.5]", "[true]", '{"token": []}', "7", "[NaN]", "[" + "9" * 5000]
    unknown = "[-1, 999999999, 18446744073709551616]"
    done = motet("harmony", "parse", "--jsonl", stdin="\n".join([*bad, unknown]))
    answers = lines(done.stdout)
    assert ["error" in answer for answer in answers] == [*[True] * len(bad), False]
    assert done.returncode == 2


def test_a_line_is_answered_before_the_next_one_comes() -> None:
    command = [*COMMAND, "harmony", "parse", "--jsonl"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        for _ in range(2):
            process.stdin.write(b"[200005, 17196, 200008, 13225, 200002]\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["messages"][0]["channel"] == "final"


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["render"], b"{", "line 1"),
        (["render"], b"\xff", "UTF-8"),
        (["render", "/nowhere.json"], b"", "/nowhere.json"),
        (["render", "--training", "--role", "user"], b"", "exclude"),
        (["render", "--vocabulary", "/nowhere.json"], b"", "/nowhere.json"),
        (["parse"], b'{"messages": []}', "token ids"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], stdin: bytes, said: str
) -> None:
    done = motet("harmony", *arguments, stdin=stdin)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("motet: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
