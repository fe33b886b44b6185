"""Input items and the harmony messages they stand for.

A result is put right behind its call, as the model was trained. What builtin tools of other servers
did is told again in the way gpt-oss tells its own. Clients may leave types and ids out.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from motet.harmony import ANALYSIS, COMMENTARY, CONSTRAIN, FINAL, HarmonyError, Message
from motet.server.errors import ApiError
from motet.server.memory import Said
from motet.server.prompts import instruction, spoken_text
from motet.server.tools import recipient

Item = dict[str, Any]
_JSON = f"{CONSTRAIN}json"
_CALLS = ("function_call", "custom_tool_call", "local_shell_call")
_RESULTS = ("function_call_output", "custom_tool_call_output", "local_shell_call_output")
_WITHOUT_WORDS = (
    "compaction",
    "computer_call",
    "computer_call_output",
    "file_search_call",
    "image_generation_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_list_tools",
)


def normal_items(given: str | Sequence[Any], path: str = "input") -> list[Item]:
    """The items in full: each with type and id, messages with parts. Raises ApiError."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    items = []
    for index, item in enumerate(given):
        if not isinstance(item, dict):
            raise ApiError("An item must be an object.", param=f"{path}[{index}]")
        items.append(_normal(item, f"{path}[{index}]"))
    return items


def _normal(item: Item, path: str) -> Item:
    kind = item.get("type") or "message"
    if not isinstance(kind, str):
        raise ApiError("The type of an item must be text.", param=f"{path}.type")
    prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}.get(kind, "item")
    item_id = item.get("id")
    full = {**item, "type": kind, "id": item_id if item_id else f"{prefix}_{uuid4().hex}"}
    if kind == "message":
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        if isinstance(item.get("content"), str):
            text = {"type": part, "text": item["content"]}
            full["content"] = [text | ({"annotations": []} if part == "output_text" else {})]
        full.setdefault("status", "completed")
    return full


def read_items(items: Sequence[Item], earlier: Sequence[Said], path: str = "input") -> list[Said]:
    """The messages of normal items that follow what was said earlier. Raises ApiError."""
    calls = {each.call_id: each.message.recipient or "" for each in earlier if each.call_id}
    said: list[Said] = []
    for index in paired(items):
        try:
            new = _read(items[index], f"{path}[{index}]", calls)
        except HarmonyError as error:
            raise ApiError(str(error), param=f"{path}[{index}]") from error
        for each in new:
            if each.call_id:
                calls[each.call_id] = each.message.recipient or ""
        said += new
    return said


def paired(items: Sequence[Item]) -> list[int]:
    """The order in which every result follows its call."""
    results: dict[object, list[int]] = {}
    calls = {_call_id(item) for item in items if item["type"] in _CALLS}
    for index, item in enumerate(items):
        if item["type"] in _RESULTS and _call_id(item) in calls:
            results.setdefault(_call_id(item), []).append(index)
    moved = {index for indices in results.values() for index in indices}
    order: list[int] = []
    for index, item in enumerate(items):
        if index not in moved:
            order.append(index)
        if item["type"] in _CALLS:
            order += results.pop(_call_id(item), [])
    return order


def _call_id(item: Mapping[str, Any]) -> str | None:
    call_id = item.get("call_id") or item.get("id")
    return call_id if isinstance(call_id, str) else None


def _read(item: Item, path: str, calls: Mapping[str, str]) -> list[Said]:
    match item["type"]:
        case "message":
            return [Said(_message(item, path))]
        case "reasoning":
            return [Said(Message.assistant(text, ANALYSIS)) for text in _thoughts(item, path)]
        case "function_call" | "custom_tool_call" | "local_shell_call":
            return [_call(item, path)]
        case "function_call_output" | "custom_tool_call_output" | "local_shell_call_output":
            return [_result(item, path, calls)]
        case "web_search_call":
            return _web_search(item)
        case "code_interpreter_call":
            return _code(item, path)
        case "mcp_call":
            return _finished_call(item, path)
        case kind if kind in _WITHOUT_WORDS:
            return []
        case kind:
            raise ApiError(f"Items of type {kind!r} are not known here.", param=f"{path}.type")


def _message(item: Item, path: str) -> Message:
    text = spoken_text(item.get("content"), f"{path}.content")
    match item.get("role"):
        case "user":
            return Message.user(text)
        case "system" | "developer":
            return instruction(text)
        case "assistant":
            is_preamble = item.get("phase") == "commentary"
            return Message.assistant(text, COMMENTARY if is_preamble else FINAL)
    raise ApiError(
        "The role of a message must be user, assistant, system or developer.",
        param=f"{path}.role",
    )


def _thoughts(item: Item, path: str) -> list[str]:
    """The chain of thought: as text, sealed, or at least its summary."""
    for text in (
        spoken_text(item.get("content"), f"{path}.content"),
        unsealed(item.get("encrypted_content")),
        spoken_text(item.get("summary"), f"{path}.summary"),
    ):
        if text:
            return [text]
    return []


def _call(item: Item, path: str) -> Said:
    call_id = _call_id(item)
    match item["type"]:
        case "function_call":
            name, arguments = item.get("name"), item.get("arguments", "{}")
        case "custom_tool_call":
            name, arguments = item.get("name"), json.dumps({"input": item.get("input", "")})
        case _:
            name, arguments = "local_shell", json.dumps(item.get("action", {}))
    if not isinstance(name, str) or not isinstance(arguments, str) or not name:
        raise ApiError("A call needs a name and its arguments as text.", param=path)
    if call_id is None:
        raise ApiError("A call needs a call_id.", param=f"{path}.call_id")
    return Said(Message.assistant(arguments, COMMENTARY, recipient(name), _JSON), call_id)


def _result(item: Item, path: str, calls: Mapping[str, str]) -> Said:
    call_id = _call_id(item)
    if call_id is None or call_id not in calls:
        raise ApiError(
            f"No call of a function before it has the id {call_id!r}.", param=f"{path}.call_id"
        )
    return Said(Message.tool(calls[call_id], spoken_text(item.get("output"), f"{path}.output")))


def _web_search(item: Item) -> list[Said]:
    """A search or a page that was opened; its result is not part of the item."""
    action = item.get("action")
    match action:
        case {"type": "open_page", "url": str(url)}:
            tool, arguments = "browser.open", {"id": url}
        case {"type": "find_in_page" | "find", "pattern": str(pattern)}:
            tool, arguments = "browser.find", {"pattern": pattern}
        case {"query": str(query)}:
            tool, arguments = "browser.search", {"query": query}
        case _:
            return []
    text = json.dumps(arguments, ensure_ascii=False)
    return [Said(Message.assistant(text, ANALYSIS, tool, "code"))]


def _code(item: Item, path: str) -> list[Said]:
    code, outputs = item.get("code"), item.get("outputs")
    if not isinstance(code, str | None) or not isinstance(outputs, list | None):
        raise ApiError("A code_interpreter_call needs code as text, and a list.", param=path)
    logs = [
        part["logs"]
        for part in outputs or ()
        if isinstance(part, dict) and isinstance(part.get("logs"), str)
    ]
    return [
        Said(Message.assistant(code or "", ANALYSIS, "python", "code")),
        Said(Message.tool("python", "\n".join(logs), ANALYSIS)),
    ]


def _finished_call(item: Item, path: str) -> list[Said]:
    """A call that another server made and whose result is part of the item."""
    call = _call({**item, "type": "function_call"}, path)
    output = item.get("output") or item.get("error") or ""
    text = output if isinstance(output, str) else json.dumps(output)
    return [call, Said(Message.tool(call.message.recipient or "", text))]


def sealed(text: str) -> str:
    """A chain of thought as `encrypted_content`: encoded, not secret, for it is shown anyway.

    Clients that keep nothing on the server send it back, though many leave the text itself out.
    """
    return urlsafe_b64encode(text.encode("utf-8", "replace")).decode()


def unsealed(content: object) -> str:
    """What `sealed` was given; empty for anything else."""
    if not isinstance(content, str):
        return ""
    try:
        return urlsafe_b64decode(content.encode()).decode()
    except ValueError:
        return ""
