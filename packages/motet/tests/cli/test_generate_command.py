"""`motet generate`, the real process."""

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from processes import COMMAND, motet

from motet.checkpoint import open_checkpoint
from motet.harmony import (
    COMMENTARY,
    FUNCTIONS,
    Conversation,
    DeveloperContent,
    Message,
    ToolDescription,
    ToolNamespace,
    render_for_completion,
)


def test_a_cut_answer_is_printed_and_said_to_be_cut(random_model: Path) -> None:
    model = ("--model", random_model, "--maximum-tokens", "8")
    done = motet("generate", *model, "--temperature", "0", stdin="Hello\n")
    assert done.returncode == 4
    assert done.stdout.strip()
    assert "Cut after 8 tokens" in done.stderr


def test_ctrl_c_keeps_what_was_said(random_model: Path) -> None:
    command = [*COMMAND, "generate", "Hello", "--model", str(random_model), "--temperature", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        first = process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        said, remarks = first + process.stdout.read(), process.stderr.read()
    assert said.endswith(b"\n")
    assert remarks == b"Stopped.\n"
    assert process.returncode == 130


def test_json_repeats_with_a_seed_and_changes_with_instructions(random_model: Path) -> None:
    def report(*options: str) -> Any:
        model = ("--model", random_model, "--maximum-tokens", "8", "--seed", "1", "--json")
        return json.loads(motet("generate", "Hello", *model, *options).stdout)

    first = report()
    assert first == report()
    assert first["generated_tokens"] == 8
    assert first["finish_reason"] == "length"
    assert report("--system", "Be brief.")["prompt_tokens"] > first["prompt_tokens"]


def test_a_whole_conversation_is_what_the_model_reads(random_model: Path, tmp_path: Path) -> None:
    adder = ToolDescription("add", "Adds.", {"type": "object", "properties": {}})
    functions = ToolNamespace(FUNCTIONS, None, (adder,))
    conversation = Conversation(
        (
            Message.system(),
            Message.developer(DeveloperContent(tools=(functions,))),
            Message.user("What is 2 + 2?"),
            Message.assistant("{}", COMMENTARY, "functions.add", "<|constrain|>json"),
            Message.tool("functions.add", "4"),
        )
    )
    source = tmp_path / "conversation.json"
    source.write_text(json.dumps(conversation.to_json()))
    model = ("--model", random_model, "--maximum-tokens", "2", "--json")
    done = motet("generate", "--conversation", source, *model)
    vocabulary = open_checkpoint(random_model).vocabulary
    expected = len(render_for_completion(conversation, vocabulary))
    assert json.loads(done.stdout)["prompt_tokens"] == expected
    piped = motet("generate", "--conversation", "-", *model, stdin=source.read_text())
    assert json.loads(piped.stdout)["prompt_tokens"] == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Hello", "--conversation", "-"], "no prompt"),
        (["--conversation", "/nowhere.json"], "/nowhere.json"),
        ([""], "empty"),
        ([], "empty"),
        (["Hello", "--temperature", "-1"], "temperature"),
    ],
)
def test_bad_input_is_one_sentence(random_model: Path, arguments: list[str], said: str) -> None:
    done = motet("generate", "--model", random_model, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("motet: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_an_answer_keeps_to_a_schema_or_a_pattern(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"sum": {"type": "integer"}, "unit": {"enum": ["m", "km"]}},
        "required": ["sum", "unit"],
    }
    source = tmp_path / "schema.json"
    source.write_text(json.dumps(schema))
    options = ("--temperature", "2", "--seed", "1", "--thinking-tokens", "0", "--json")
    report = json.loads(motet("generate", "2 + 2?", "--schema", source, *options).stdout)
    answer = json.loads(report["messages"][-1]["content"][0]["text"])
    assert isinstance(answer["sum"], int)
    assert answer["unit"] in ("m", "km")
    assert report["repairs"] == []
    assert report["forced_tokens"] > 3
    done = motet("generate", "Yes?", "--pattern", "(yes|no), sir", "--thinking-tokens", "5")
    assert done.stdout in ("yes, sir\n", "no, sir\n")


def test_a_required_function_is_called(tmp_path: Path) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    tools = (ToolDescription("add", "Adds.", parameters), ToolDescription("now", "Tells the time."))
    developer = Message.developer(DeveloperContent(tools=(ToolNamespace(FUNCTIONS, None, tools),)))
    asked = Conversation((Message.system(), developer, Message.user("What is 2 + 2?")))
    source = tmp_path / "conversation.json"
    source.write_text(json.dumps(asked.to_json()))
    for choice, called in (("add", ("functions.add",)), ("required", asked.tools)):
        done = motet("generate", "--conversation", source, "--tool-choice", choice, "--json")
        assert done.returncode == 3
        message = json.loads(done.stdout)["messages"][-1]
        assert message["recipient"] in called
        json.loads(message["content"][0]["text"])
    without = motet("generate", "--conversation", source, "--tool-choice", "none", "--json")
    assert json.loads(without.stdout)["messages"][-1]["channel"] == "final"


def test_formats_that_cannot_be_are_one_sentence(tmp_path: Path) -> None:
    source = tmp_path / "schema.json"
    source.write_text('{"type": "object", "properties": {"a": {"type": "frob"}}}')
    for arguments, said in (
        (["--schema", source], "#/properties/a"),
        (["--pattern", "("], "unclosed group"),
        (["--schema", source, "--pattern", "x"], "not both"),
        (["--tool-choice", "add"], "no tool functions.add"),
    ):
        done = motet("generate", "Hello", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert said in done.stderr


def test_a_model_whose_file_is_cut_short_meanwhile(random_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(random_model, tmp_path / "model"))
    weights = model / "model.safetensors"
    command = [*COMMAND, "generate", "Hello", "--model", str(model), "--temperature", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(1)
        with weights.open("r+b") as file:
            file.truncate(4096)
        process.stdout.read()
        complaint = process.stderr.read().decode()
    assert process.returncode == 2, complaint
    assert f"{weights} became shorter while the model was in use: download" in complaint
    assert "Traceback" not in complaint
