"""A chat model that needs no network and no key: the same conversation gets the same reply.

It speaks LangChain's protocol as a real model does: it streams tokens, calls the tools that it was
given, and answers in words once it has their results.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import takewhile
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

# "what is 6 * 7", "how much is 10 / 4"
NUMBER = r"(-?\d{1,15}(?:\.\d{1,15})?)"
SUM = re.compile(rf"\b(?:is|calculate)\s+{NUMBER}\s*([-+*/])\s*{NUMBER}", re.IGNORECASE)
# "the weather in Paris", "weather like today in New York"
NAME = r"([^\W\d_]+(?:[ -][A-Z][^\W\d_]*)*)"
WEATHER = re.compile(rf"\b[Ww]eather\b[^.?!]{{0,40}}?\bin\s+{NAME}")
# "book a flight to Oslo and a room at the Plaza"
FLIGHT = re.compile(rf"\bflight\s+to\s+{NAME}")
HOTEL = re.compile(rf"\broom\s+at\s+(?:the\s+)?{NAME}")


class FakeChatModel(BaseChatModel):
    """Chooses its reply by looking at the conversation, and streams it token by token."""

    token_delay: float = 0.02
    """Seconds before each token, so that streaming is visible."""

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with `tools` to call; it decides by itself when (no `tool_choice`)."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in reply_chunks(messages, tool_names(kwargs)):
            time.sleep(self.token_delay)
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in reply_chunks(messages, tool_names(kwargs)):
            await asyncio.sleep(self.token_delay)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))


def tool_names(options: dict[str, Any]) -> set[str]:
    """Return the names of the tools that `bind_tools` put among a call's options."""
    return {tool["function"]["name"] for tool in options.get("tools", [])}


def reply_chunks(messages: list[BaseMessage], tools: set[str]) -> Iterator[ChatGenerationChunk]:
    """Yield the reply to a conversation: tool calls where a tool can help, and words otherwise."""
    calls = wanted_calls(messages[-1], tools)
    parts = call_parts(calls, len(messages)) if calls else word_parts(answer(messages))
    for part in parts:
        yield ChatGenerationChunk(message=part)
    # A real model closes its stream in the same way: no text, the price, and the mark of the last.
    written = len(parts)
    read = sum(len(message.text.split()) for message in messages)
    usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
    last = AIMessageChunk(content="", usage_metadata=usage, chunk_position="last")
    yield ChatGenerationChunk(message=last)


def wanted_calls(message: BaseMessage, tools: set[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return the tools that a person's message asks for, each with its arguments."""
    if not isinstance(message, HumanMessage):
        return []
    question = str(message.text)
    calls: list[tuple[str, dict[str, Any]]] = []
    for left, operator, right in SUM.findall(question):
        arguments = {"left": number(left), "operator": operator, "right": number(right)}
        calls.append(("calculate", arguments))
    calls.extend(("get_weather", {"city": city}) for city in WEATHER.findall(question))
    calls.extend(("book_flight", {"city": city}) for city in FLIGHT.findall(question))
    calls.extend(("book_hotel", {"hotel": hotel}) for hotel in HOTEL.findall(question))
    return [call for call in calls if call[0] in tools]


def number(text: str) -> int | float:
    """Return the number that a text spells: 7 stays whole, 7.5 does not."""
    return float(text) if "." in text else int(text)


def call_parts(calls: list[tuple[str, dict[str, Any]]], turn: int) -> list[AIMessageChunk]:
    """Return tool calls as they are streamed: the name first, then the arguments in pieces."""
    pieces: list[ToolCallChunk] = []
    for index, (name, arguments) in enumerate(calls):
        call_id = f"call_{turn}_{index}"
        pieces.append(tool_call_chunk(name=name, args="", id=call_id, index=index))
        texts = re.findall(r".{1,12}", json.dumps(arguments))
        pieces.extend(tool_call_chunk(args=text, index=index) for text in texts)
    return [AIMessageChunk(content="", tool_call_chunks=[piece]) for piece in pieces]


def word_parts(text: str) -> list[AIMessageChunk]:
    """Return a text as tokens: a word and the space after it."""
    return [AIMessageChunk(content=word) for word in re.findall(r"\S+\s*", text)]


def answer(messages: list[BaseMessage]) -> str:
    """Return the words of the reply, taken from the end of the conversation."""
    questions = [str(message.text) for message in messages if isinstance(message, HumanMessage)]
    question = questions[-1] if questions else ""
    results = [*takewhile(lambda message: isinstance(message, ToolMessage), messages[::-1])][::-1]
    if results:
        done = "I have seen to it." if "book" in str(results[0].name) else "I looked it up."
        return " ".join([done, *(str(message.text) for message in results)])
    if "instructions" in question.lower():
        given = [str(message.text) for message in messages if isinstance(message, SystemMessage)]
        return f"My instructions are: {' '.join(given) or 'none'}"
    return (
        f'You asked: "{question}" (turn {len(questions)} of our conversation). '
        "I am only a fake model, but I can tell you the weather in a city, or what is 6 * 7."
    )
