"""The graphs that every contender executes. None of them does any work worth mentioning: what is
measured is what surrounds them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

TOKEN = "twenty characters..."


class Count(TypedDict, total=False):
    x: int


class Tokens(TypedDict, total=False):
    n: int
    pause: float


class Nap(TypedDict, total=False):
    seconds: float


class Chat(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    n: int


class FakeChatModel(BaseChatModel):
    """Streams `n` tokens without waiting for anything."""

    n: int = 200

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=TOKEN))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for i in range(self.n):
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"tok{i:04d} "))
            await asyncio.sleep(0)


async def count(state: Count) -> Count:
    """Add one."""
    return {"x": state.get("x", 0) + 1}


async def write_tokens(state: Tokens) -> Tokens:
    """Write `n` custom events, `pause` seconds apart; 0 only lets others have their turn, and a
    negative pause not even that."""
    write = get_stream_writer()
    n, pause = state.get("n", 500), state.get("pause", 0)
    for i in range(n):
        write({"i": i, "text": TOKEN})
        if pause >= 0:
            await asyncio.sleep(pause)
    return {"n": n}


async def ask_model(state: Chat) -> Chat:
    """Have the fake model stream `n` tokens."""
    answer = await FakeChatModel(n=state.get("n", 200)).ainvoke([("human", "hello")])
    return {"messages": [answer]}


async def nap(state: Nap) -> Nap:
    """Sleep for a while."""
    await asyncio.sleep(state.get("seconds", 1.0))
    return {}


async def answer(state: Chat) -> Chat:
    """Append a message of 500 characters to the conversation."""
    return {"messages": [AIMessage(content="y" * 500)]}


def _chain(schema: type, **nodes: Any) -> StateGraph[Any]:
    graph: StateGraph[Any] = StateGraph(schema)
    previous = START
    for name, function in nodes.items():
        graph.add_node(name, function)
        graph.add_edge(previous, name)
        previous = name
    graph.add_edge(previous, END)
    return graph


BUILDERS = {
    "noop": _chain(Count, first=count, second=count),
    "tokens": _chain(Tokens, write=write_tokens),
    "messages": _chain(Chat, model=ask_model),
    "slow": _chain(Nap, nap=nap),
    "chat": _chain(Chat, answer=answer),
}

noop = BUILDERS["noop"].compile()
tokens = BUILDERS["tokens"].compile()
messages = BUILDERS["messages"].compile()
slow = BUILDERS["slow"].compile()
chat = BUILDERS["chat"].compile()
