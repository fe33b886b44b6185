"""Completions: token ids in and out."""

import json

from scripted import (
    ANSWER,
    VOCABULARY,
    client,
    scripted_engine,
    sse,
)

from motet.harmony import Conversation, Message, render_for_completion


def test_completions_take_and_give_tokens() -> None:
    engine = scripted_engine(ANSWER, ANSWER, ANSWER)
    conversation = Conversation((Message.system(), Message.user("?")))
    prompt = render_for_completion(conversation, VOCABULARY)
    with client(engine) as http:
        body = {"prompt": prompt, "max_tokens": 100, "return_token_ids": True, "echo": True}
        choice = http.post("/v1/completions", json=body).json()["choices"][0]
        stream = http.post("/v1/completions", json={**body, "stream": True}).text
        limited = http.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 2}).json()
    assert choice["token_ids"] == list(ANSWER.tokens)
    assert choice["prompt_token_ids"] == prompt
    assert choice["text"] == VOCABULARY.decode([*prompt, *ANSWER.tokens[:-1]])
    assert choice["finish_reason"] == "stop"
    chunks = [json.loads(data)["choices"][0] for _, data in sse(stream)[:-1]]
    assert "".join(chunk["text"] for chunk in chunks) == choice["text"]
    assert [token for c in chunks for token in c.get("token_ids", ())] == choice["token_ids"]
    assert limited["choices"][0]["finish_reason"] == "length"
    assert limited["usage"]["completion_tokens"] == 2
    assert list(engine.requests[-1].prompt) == VOCABULARY.encode("Hi")


def test_scores_of_completions_can_name_ids_and_only_chosen_ids_end_them() -> None:
    v = VOCABULARY
    text = [*v.encode("One"), v.return_, *v.encode(" two"), v.end]
    engine = scripted_engine(text, text)
    with client(engine) as http:
        ids = http.post("/tokenize", json={"prompt": "Two words"}).json()["tokens"]
        body = {
            "prompt": ids,
            "logprobs": 1,
            "max_tokens": 50,
            "ignore_eos": True,
            "stop_token_ids": [v.end],
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            "top_k": -1,
            "min_p": 0.1,
            "repetition_penalty": 1.1,
        }
        choice = http.post("/v1/completions", json=body).json()["choices"][0]
        plain = http.post("/v1/completions", json={"prompt": ids}).json()["choices"][0]
        figures = http.get("/metrics").text
    sampling = engine.requests[0].sampling
    assert (sampling.top_k, sampling.min_p, sampling.repetition_penalty) == (0, 0.1, 1.1)
    assert f'motet_tokens_total{{kind="prompt"}} {2 * len(ids)}.0' in figures
    assert ids == v.encode("Two words")
    assert choice["token_ids"] == text
    assert choice["text"] == "One<|return|> two"
    assert choice["logprobs"]["tokens"] == [f"token_id:{token}" for token in text]
    assert choice["logprobs"]["top_logprobs"][0].keys() == {f"token_id:{text[0]}"}
    assert (plain["text"], plain["finish_reason"]) == ("One", "stop")


def test_completions_of_several_prompts_stop_at_texts() -> None:
    text = VOCABULARY.encode("one two three")
    with client(scripted_engine(text, text)) as http:
        body = {"prompt": ["a", "b"], "stop": [" tw"], "logprobs": 1, "max_tokens": 50}
        choices = http.post("/v1/completions", json=body).json()["choices"]
    assert [(c["index"], c["text"], c["finish_reason"]) for c in choices] == [
        (0, "one", "stop"),
        (1, "one", "stop"),
    ]
    assert choices[0]["logprobs"]["tokens"][0] == VOCABULARY.decode(text[:1])
