"""Chat messages: each as LangChain shows it, and put together from the pieces it came in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runwire.client.convert import value_of

if TYPE_CHECKING:
    from runwire.v1.events_pb2 import MessageEvent, TokenUsage

Message = dict[str, Any]

_FIXED = frozenset({"id", "index", "model_provider", "name", "output_version", "type"})
"""Strings under these keys name something; under all others they are pieces of text."""


class Messages:
    """The messages of one stream."""

    def __init__(self) -> None:
        self._metadata: dict[str, dict[str, Any]] = {}
        self._assembled: dict[str, Message] = {}

    def forget(self) -> None:
        """Drop what an attempt has left unfinished: the next one tells its messages anew."""
        self._metadata.clear()
        self._assembled.clear()

    def metadata(self, event: MessageEvent) -> dict[str, Any]:
        """Return where a message comes from, as its first event told; {} if that was missed."""
        if event.HasField("metadata"):
            self._metadata[event.message_id] = value_of(event.metadata)
        return dict(self._metadata.get(event.message_id, {}))

    def assemble(self, event: MessageEvent) -> Message:
        """Return a message as far as it has come: this piece joined to those before it."""
        piece = message_of(event)
        known = self._assembled.get(event.message_id)
        if known is not None and event.delta:
            piece = _joined(known, piece)
        self._assembled[event.message_id] = piece
        return _finished(piece) if event.delta else piece


def message_of(event: MessageEvent) -> Message:
    """Return one event's message, or piece of one, with the fields that LangChain gives it."""
    extra: dict[str, Any] = value_of(event.extra) or {}
    message: Message = {
        "content": event.text,
        "additional_kwargs": {},
        "response_metadata": {},
        "type": event.type,
        "name": None,
        "id": event.message_id,
        **_defaults(event.type),
    }
    if event.HasField("usage"):
        extra["usage_metadata"] = _usage_of(event.usage) | extra.get("usage_metadata", {})
    if event.type == "AIMessageChunk":
        message["tool_call_chunks"] = _tool_call_chunks(event)
    message |= extra
    if message.get("tool_call_chunks"):
        message |= _tool_calls(message["tool_call_chunks"])
    return message


def _defaults(kind: str) -> dict[str, Any]:
    """Return what messages of a kind hold besides, as long as the server says nothing else."""
    if kind in ("tool", "ToolMessageChunk"):
        return {"artifact": None, "status": "success"}
    if kind not in ("ai", "AIMessageChunk"):
        return {}
    position = {"chunk_position": None} if kind == "AIMessageChunk" else {}
    return {"tool_calls": [], "invalid_tool_calls": [], "usage_metadata": None, **position}


def _usage_of(usage: TokenUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def _tool_call_chunks(event: MessageEvent) -> list[dict[str, Any]]:
    return [
        {
            "name": chunk.name or None,
            "args": chunk.args,
            "id": chunk.id or None,
            "index": chunk.index if chunk.HasField("index") else None,
            "type": "tool_call_chunk",
        }
        for chunk in event.tool_call_chunks
    ]


def _finished(message: Message) -> Message:
    """Return a message put together from pieces in the form of a whole one."""
    shown = {
        key: item
        for key, item in message.items()
        if key not in ("tool_call_chunks", "chunk_position")
    }
    shown["type"] = message["type"].removesuffix("MessageChunk").lower()
    return shown


def _joined(message: Message, piece: Message) -> Message:
    """Return a message with its next piece; neither of the two is changed."""
    result = {**message, **{key: item for key, item in piece.items() if item is not None}}
    result["content"] = _joined_content(message["content"], piece["content"])
    for key in ("additional_kwargs", "usage_metadata"):
        if key in message or key in piece:
            result[key] = _joined_values(message.get(key), piece.get(key), add=True)
    result["response_metadata"] = message["response_metadata"] | piece["response_metadata"]
    if chunks := _joined_chunks(message, piece):
        result |= {"tool_call_chunks": chunks, **_tool_calls(chunks)}
    return result


def _joined_content(content: str | list[Any], piece: str | list[Any]) -> str | list[Any]:
    """Return content, which is text or a list of blocks, with its next piece."""
    if isinstance(content, str) and isinstance(piece, str):
        return content + piece
    blocks: list[Any] = [content] if content and isinstance(content, str) else [*content]
    if not isinstance(piece, str):
        return _joined_lists(blocks, piece)
    if blocks and isinstance(blocks[-1], str):
        return [*blocks[:-1], blocks[-1] + piece]
    return [*blocks, piece] if piece else blocks


def _joined_values(value: Any, piece: Any, *, add: bool = False, key: str = "") -> Any:
    """Return a value with its next piece. Texts are appended, objects joined key by key, lists item
    by item; of other values the later one stands. With `add`, numbers are added up."""
    if value is None or piece is None:
        return value if piece is None else piece
    if isinstance(value, str) and isinstance(piece, str):
        return (value or piece) if key in _FIXED else value + piece
    if isinstance(value, dict) and isinstance(piece, dict):
        joined = {
            name: _joined_values(value.get(name), item, add=add, key=name)
            for name, item in piece.items()
        }
        return {**value, **joined}
    if isinstance(value, list) and isinstance(piece, list):
        return _joined_lists(value, piece)
    is_count = type(value) in (int, float) and type(piece) in (int, float)
    return value + piece if add and is_count else piece


def _joined_lists(items: list[Any], pieces: list[Any]) -> list[Any]:
    """Return a list with its next pieces, each joined to the item of the same `index`."""
    result = [*items]
    for piece in pieces:
        place = _place_of(piece, result)
        if place is None:
            result.append(piece)
        else:
            result[place] = _joined_values(result[place], piece)
    return result


def _place_of(piece: Any, items: list[Any]) -> int | None:
    if not isinstance(piece, dict) or piece.get("index") is None:
        return None
    for place, item in enumerate(items):
        if not isinstance(item, dict) or item.get("index") != piece["index"]:
            continue
        # A provider that numbers anew in each step tells its items apart by their ids.
        if not item.get("id") or piece.get("id") in (None, "", item["id"]):
            return place
    return None


def _joined_chunks(message: Message, piece: Message) -> list[dict[str, Any]]:
    return _joined_lists(message.get("tool_call_chunks", []), piece.get("tool_call_chunks", []))


def _tool_calls(chunks: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the tool calls that chunks amount to, those whose arguments cannot be read apart."""
    calls, invalid = [], []
    for chunk in chunks:
        call = {"name": chunk["name"] or "", "id": chunk["id"]}
        args = _arguments(chunk["args"] or "")
        if args is None:
            invalid.append(
                call | {"args": chunk["args"], "error": None, "type": "invalid_tool_call"}
            )
        else:
            calls.append(call | {"args": args, "type": "tool_call"})
    return {"tool_calls": calls, "invalid_tool_calls": invalid}


def _arguments(text: str) -> dict[str, Any] | None:
    """Return a tool call's arguments as far as their JSON text has come; None if it is none."""
    if not text.strip():
        return {}
    for candidate in _completions(text):
        try:
            arguments = json.loads(candidate, strict=False)
        except ValueError:
            continue
        return arguments if isinstance(arguments, dict) else None
    return None


def _completions(text: str) -> list[str]:
    """Return JSON texts that a truncated one may be a beginning of, the likeliest first."""
    closers: list[str] = []
    in_string = escaped = False
    cuts = [0]
    for place, letter in enumerate(text):
        if in_string:
            in_string = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            in_string = True
        elif letter in "{[":
            closers.append("}" if letter == "{" else "]")
            cuts.append(place + 1)
        elif letter in "}]" and closers:
            closers.pop()
        elif letter == ",":
            cuts.append(place)
    end = "".join(reversed(closers))
    open_text = text[:-1] if escaped else text
    whole = open_text + '"' if in_string else open_text
    # Cut off in the middle of a key or a word, only what came before the last comma can be read.
    return [text, whole + end, text[: cuts[-1]] + end]
