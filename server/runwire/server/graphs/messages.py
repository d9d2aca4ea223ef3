"""Chat messages as events: typed fields for what most programs need, the rest without loss."""

from functools import lru_cache
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, BaseMessageChunk
from pydantic_core import PydanticUndefined

from runwire.server.graphs.serialize import to_json
from runwire.server.model.events import Message, ToolCallChunk
from runwire.server.model.ids import new_id

_TYPED = frozenset({"content", "id", "type", "tool_call_chunks", "usage_metadata"})
_FROM_CHUNKS = frozenset({"tool_calls", "invalid_tool_calls"})
_COUNTS = ("input_tokens", "output_tokens", "total_tokens")


class MessageEvents:
    """Turns the messages of one stream into events."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def event(self, message: BaseMessage, metadata: dict[str, Any]) -> Message:
        """Return a message, or a piece of one, as an event.

        `metadata` becomes part of the first event of each message only.
        """
        fields = message.__dict__
        message_id = fields["id"] or new_id()
        content = fields["content"]
        calls = fields.get("tool_call_chunks")
        usage = fields.get("usage_metadata")
        extra = _extra(message, fields, bool(calls))
        if type(content) is not str:
            content = _text(content, extra)
        chunks: tuple[ToolCallChunk, ...] = ()
        if calls:
            chunks = _chunks(calls)
        elif isinstance(message, AIMessage) and message.tool_calls:
            chunks = _whole_calls(message)
        told = ""
        if message_id not in self._known:
            self._known.add(message_id)
            told = to_json({key: metadata[key] for key in metadata if not key.startswith("__")})
        return Message(
            message_id,
            fields["type"],
            isinstance(message, BaseMessageChunk),
            content,
            chunks,
            _usage(usage, extra) if usage else None,
            to_json(extra) if extra else "",
            told,
        )


def _extra(message: BaseMessage, fields: dict[str, Any], has_chunks: bool) -> dict[str, Any]:
    """Return the fields that differ from their defaults and have no place in the event."""
    defaults = _defaults(type(message))
    extra = {}
    for name, value in fields.items():
        if name in _TYPED:
            continue
        default = defaults.get(name, PydanticUndefined)
        if value is default or (type(value) is type(default) and value == default):
            continue
        if has_chunks and name in _FROM_CHUNKS:
            continue  # LangChain's reading of these very chunks
        extra[name] = value
    if message.__pydantic_extra__:
        extra.update(message.__pydantic_extra__)
    return extra


@lru_cache(maxsize=256)
def _defaults(kind: type[BaseMessage]) -> dict[str, Any]:
    return {
        name: field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
    }


def _text(content: list[str | dict[Any, Any]], extra: dict[str, Any]) -> str:
    """Return the text in a list of blocks; put the list into `extra` if it is more than text."""
    pieces, only_text = [], True
    for block in content:
        if isinstance(block, str):
            pieces.append(block)
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            pieces.append(block["text"])
            only_text = only_text and len(block) == 2
        else:
            only_text = False
    if not only_text:
        extra["content"] = content
    return "".join(pieces)


def _chunks(calls: list[dict[str, Any]]) -> tuple[ToolCallChunk, ...]:
    return tuple(
        ToolCallChunk(
            call.get("name") or "", call.get("args") or "", call.get("id") or "", call.get("index")
        )
        for call in calls
    )


def _whole_calls(message: AIMessage) -> tuple[ToolCallChunk, ...]:
    """Return complete tool calls as chunks; `extra` has them as LangChain gives them, too."""
    return tuple(
        ToolCallChunk(call["name"], to_json(call["args"]), call.get("id") or "", index)
        for index, call in enumerate(message.tool_calls)
    )


def _usage(usage: dict[str, Any], extra: dict[str, Any]) -> tuple[int, int, int] | None:
    counts = tuple(usage.get(name) for name in _COUNTS)
    if not all(type(count) is int for count in counts):
        extra["usage_metadata"] = usage
        return None
    if len(usage) > len(_COUNTS):
        extra["usage_metadata"] = {k: v for k, v in usage.items() if k not in _COUNTS}
    return cast("tuple[int, int, int]", counts)
