"""`motet generate`, the real process."""

import json
from pathlib import Path

import pytest
from processes import motet


def test_a_cut_answer_is_printed_and_said_to_be_cut(random_model: Path) -> None:
    model = ("--model", random_model, "--maximum-tokens", "8")
    done = motet("generate", *model, "--temperature", "0", stdin="Hello\n")
    assert done.returncode == 4
    assert done.stdout.strip()
    assert "Cut after 8 tokens" in done.stderr


def test_json_and_seeds(random_model: Path) -> None:
    model = ("--model", random_model, "--maximum-tokens", "8", "--json")
    reports = [
        json.loads(motet("generate", "Hello", *model, "--seed", seed).stdout) for seed in "112"
    ]
    assert reports[0] == reports[1]
    assert reports[0]["messages"] != reports[2]["messages"]
    assert reports[0]["generated_tokens"] == 8


def test_developer_and_effort_reach_the_model(random_model: Path) -> None:
    def prompt_tokens(*options: str) -> int:
        model = ("--model", random_model, "--maximum-tokens", "1", "--json")
        return int(json.loads(motet("generate", "Hello", *model, *options).stdout)["prompt_tokens"])

    assert prompt_tokens("--system", "Be brief.") > prompt_tokens()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "empty"),
        ([" \n"], "empty"),
        ([], "empty"),
        (["Hello", "--temperature", "-1"], "temperature"),
        (["Hello", "--seed", "-1"], "seed"),
    ],
)
def test_bad_input_is_one_sentence(random_model: Path, arguments: list[str], said: str) -> None:
    done = motet("generate", "--model", random_model, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("motet: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
