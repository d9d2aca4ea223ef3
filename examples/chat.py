"""A chat agent that calls tools, written as a graph of two nodes.

    START ──▶ model ──▶ END
               ▲ │
               │ ▼
              tools

Without a key it talks to the fake model beside it. To talk to a real one, install its package into
the server's environment and put the key into the server's own, before the server starts:

    pip install langchain-openai       OPENAI_API_KEY=…
    pip install langchain-anthropic    ANTHROPIC_API_KEY=…
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from fake_model import FakeChatModel
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.runtime import Runtime

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an assistant, or one run, may set: two assistants of this graph can differ in it."""

    system_prompt: str = "You are a helpful assistant. Use your tools when they help."
    model: str = ""
    """Empty: the provider's default. "fake": the fake model, whatever keys there are."""
    token_delay: float = 0.02
    """Seconds between two tokens of the fake model."""


def given(context: Context | None) -> Context:
    """Return a run's context: the defaults, if the run was started without any."""
    return context or Context()


WEATHER = {"Paris": "sunny, 24 °C", "London": "rainy, 14 °C", "Oslo": "snowy, -3 °C"}
OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
}


@tool
def get_weather(city: str) -> str:
    """Say what the weather in a city is like today."""
    return f"The weather in {city} is {WEATHER.get(city.title(), 'mild and cloudy, 17 °C')}."


@tool
def calculate(left: int | float, operator: Literal["+", "-", "*", "/"], right: int | float) -> str:
    """Work out one sum, such as 6 * 7."""
    return f"{left} {operator} {right} = {OPERATIONS[operator](left, right)}."


TOOLS = [get_weather, calculate]

PROVIDERS = [  # key in the environment, package, class, default model
    ("OPENAI_API_KEY", "langchain_openai", "ChatOpenAI", "gpt-5-mini"),
    ("ANTHROPIC_API_KEY", "langchain_anthropic", "ChatAnthropic", "claude-haiku-4-5"),
]


def find_provider() -> Callable[[str], BaseChatModel] | None:
    """Return what makes a model from its name, of the provider that there is a key for."""
    for key, package, class_name, default in PROVIDERS:
        if os.environ.get(key):
            try:
                model_class = getattr(import_module(package), class_name)
            except ImportError:
                logger.warning("%s is set but unused: %s is not installed", key, package)
            else:
                return lambda name: model_class(model=name or default)
    return None


# Once, while the server loads the graph: importing a provider's package takes a second or two.
real_model = find_provider()


async def model(state: MessagesState, runtime: Runtime[Context]) -> MessagesState:
    """Ask the model for the next message, which is an answer or a wish to call tools."""
    context = given(runtime.context)
    if real_model and context.model != "fake":
        chat_model = real_model(context.model)
    else:
        chat_model = FakeChatModel(token_delay=context.token_delay)
    prompt = [SystemMessage(context.system_prompt), *state["messages"]]
    return {"messages": [await chat_model.bind_tools(TOOLS).ainvoke(prompt)]}


builder = StateGraph(MessagesState, context_schema=Context)
builder.add_node("model", model)
# A tool that fails (1 / 0) is something for the model to explain, not the end of the run.
builder.add_node("tools", ToolNode(TOOLS, handle_tool_errors=True))
builder.add_edge(START, "model")
builder.add_conditional_edges("model", tools_condition)  # "tools", or the end
builder.add_edge("tools", "model")

# No checkpointer and no store: the server brings its own.
graph = builder.compile()
