"""The order of events in a Responses stream, by OpenAI's reference: an independent reading of it.

Every event must be valid as openai-python's type for it; then the rules: numbers without a gap, one
beginning, one end, items one after the other, each opened and closed in the right way, and the same
text in deltas, in `done`, in the part, in the item and in the last response.
"""

from collections.abc import Sequence
from typing import Any

from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

Event = dict[str, Any]
_OFFICIAL: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ENDS = ("response.completed", "response.incomplete", "response.failed")


def check_stream(events: Sequence[Event], *, is_cancelled: bool = False) -> dict[str, Any]:
    """Assert all rules; the last response."""
    for event in events:
        official = _OFFICIAL.validate_python(event)
        assert official.type == event["type"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    rest = _check_beginning(list(events))
    if is_cancelled:
        _check_items(rest)
        return {}
    end = rest.pop()
    assert end["type"] in ENDS
    assert not {event["type"] for event in rest} & set(ENDS)
    response: dict[str, Any] = end["response"]
    assert f"response.{response['status']}" == end["type"]
    assert response["output"] == _check_items(rest)
    assert (response["error"] is not None) == (response["status"] == "failed")
    assert (response["incomplete_details"] is not None) == (response["status"] == "incomplete")
    usage = response["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    return response


def _check_beginning(events: list[Event]) -> list[Event]:
    created = events.pop(0)
    assert created["type"] == "response.created"
    assert created["response"]["output"] == []
    if created["response"]["status"] == "queued":
        assert events.pop(0)["type"] == "response.queued"
    else:
        assert created["response"]["status"] == "in_progress"
    started = events.pop(0)
    assert started["type"] == "response.in_progress"
    assert started["response"]["status"] == "in_progress"
    return events


def _check_items(events: list[Event]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    while events:
        added = events.pop(0)
        assert added["type"] == "response.output_item.added"
        assert added["output_index"] == len(items)
        item = added["item"]
        assert item["status"] == "in_progress"
        inner = []
        while events[0]["type"] != "response.output_item.done":
            inner.append(events.pop(0))
        done = events.pop(0)
        assert done["output_index"] == len(items)
        assert done["item"]["id"] == item["id"]
        assert done["item"]["status"] in ("completed", "incomplete")
        for event in inner:
            assert (event["item_id"], event["output_index"]) == (item["id"], len(items))
        if item["type"] == "function_call":
            _check_call(item, inner, done["item"])
        else:
            _check_text(item, inner, done["item"])
        items.append(done["item"])
    return items


def _check_call(item: dict[str, Any], events: list[Event], done: dict[str, Any]) -> None:
    *deltas, end = events
    assert {event["type"] for event in deltas} <= {"response.function_call_arguments.delta"}
    assert end["type"] == "response.function_call_arguments.done"
    arguments = "".join(event["delta"] for event in deltas)
    assert item["arguments"] == ""
    assert arguments == end["arguments"] == done["arguments"]
    assert (item["name"], item["call_id"]) == (done["name"], done["call_id"])


def _check_text(item: dict[str, Any], events: list[Event], done: dict[str, Any]) -> None:
    name = "reasoning_text" if item["type"] == "reasoning" else "output_text"
    assert item["content"] == []
    added, *deltas, text_done, part_done = events
    assert added["type"] == "response.content_part.added"
    assert added["part"]["type"] == name
    assert added["part"]["text"] == ""
    assert {event["type"] for event in deltas} <= {f"response.{name}.delta"}
    assert all(event["content_index"] == 0 for event in events)
    assert text_done["type"] == f"response.{name}.done"
    assert part_done["type"] == "response.content_part.done"
    text = "".join(event["delta"] for event in deltas)
    assert text == text_done["text"] == part_done["part"]["text"]
    assert done["content"] == [part_done["part"]]
    if name == "output_text":
        scores = [score for event in deltas for score in event["logprobs"]]
        assert scores == text_done["logprobs"] == part_done["part"]["logprobs"]
