"""Exceptions as errors of runs: what a caller may read of them, and what stays in the log."""

import re

from langgraph.errors import (
    EmptyInputError,
    GraphRecursionError,
    InvalidUpdateError,
    NodeCancelledError,
    NodeTimeoutError,
    UnknownInterruptError,
)

from runwire.server.graphs.loading import GraphLoadError
from runwire.server.model.ids import new_id
from runwire.server.model.runs import RunError

_SHOWN: tuple[type[BaseException], ...] = (
    # LangGraph's own, which are about the graph and its input, and the server's.
    EmptyInputError,
    GraphLoadError,
    GraphRecursionError,
    InvalidUpdateError,
    NodeCancelledError,
    NodeTimeoutError,
    UnknownInterruptError,
    # Python's, and what derives from them: what a graph's author raises to say something. Not
    # OSError, nor Exception itself, from which clients of databases and model providers derive
    # theirs: those quote addresses, credentials and queries.
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TimeoutError,
    TypeError,
    ValueError,
)
"""The families of exceptions whose messages are shown to callers."""

_SHOWN_NAMES = frozenset(family.__name__ for family in _SHOWN) | {
    "IndexError",
    "KeyError",
    "NotImplementedError",
    "RecursionError",
    "ZeroDivisionError",
}

_MESSAGE_LIMIT = 1_000
"""Characters of a message that are shown."""

_NOTE = re.compile(r"During task with name '(.*)' and id '[^']*'\Z", re.DOTALL)

_REPR = re.compile(r"([A-Za-z_]\w*)\(")


def describe_failure(exception: BaseException, attempt: int) -> tuple[RunError, bool]:
    """Return an exception that ended a run as the run's error, and whether to log its detail.

    The message is the exception's own if it is of a family that is shown. Otherwise it is a fixed
    sentence, and the error has an id to log the exception with.
    """
    node = _node(exception)
    cause = _only_cause(exception)
    kind = type(cause).__name__
    if is_shown(cause):
        message = shown_message(cause)
        return RunError(type=kind, message=message, node=node, attempt=attempt), False
    error = RunError(
        type=kind,
        message="the graph failed; the server's log has the detail under the error's id",
        node=node,
        attempt=attempt,
        error_id=new_id(),
    )
    return error, True


def is_shown(exception: BaseException) -> bool:
    """Return whether the exception's message may be shown to a caller."""
    return isinstance(exception, _SHOWN)


def shown_message(exception: BaseException) -> str:
    """Return the exception's message, cut to what is shown and safe to encode."""
    try:
        text = str(exception)
    except Exception:  # noqa: BLE001 - `str` runs user code, which may raise anything
        text = ""
    text = text.encode("utf-8", "replace").decode().replace("\0", "")
    return text if len(text) <= _MESSAGE_LIMIT else text[: _MESSAGE_LIMIT - 1] + "…"


def describe_refusal(exception: BaseException) -> str:
    """Return why a graph does not take an update: LangGraph's sentence, or what the graph's code
    raised, with its type, since what a `KeyError` says is a key and nothing else."""
    message = shown_message(exception)
    if message and isinstance(exception, InvalidUpdateError):
        return message
    kind = type(exception).__name__
    return f"{kind}: {message}" if message else kind


def describe_task_error(error: object) -> str:
    """Return what a task raised as a caller may read it; empty for None.

    A checkpoint holds the `repr` of an exception: of one that is not of a shown family by its
    name, the name alone is returned, and "Exception" if no name can be made out.
    """
    if error is None:
        return ""
    if isinstance(error, BaseException):
        cause = _only_cause(error)
        kind = type(cause).__name__
        return f"{kind}: {shown_message(cause)}" if is_shown(cause) else kind
    text = str(error)
    found = _REPR.match(text)
    if found is None:  # the words of its own that some class has for `repr`
        return "Exception"
    return text[:_MESSAGE_LIMIT] if found[1] in _SHOWN_NAMES else found[1]


def _only_cause(exception: BaseException) -> BaseException:
    """Return the one exception inside an exception group of one, as task groups raise them."""
    while isinstance(exception, BaseExceptionGroup) and len(exception.exceptions) == 1:
        exception = exception.exceptions[0]
    return exception


def _node(exception: BaseException) -> str:
    """Return the node that raised, the innermost one if graphs are nested; empty if none did."""
    if isinstance(exception, NodeCancelledError | NodeTimeoutError):
        return exception.node
    # LangGraph adds a note at every level, from the inside out.
    for note in getattr(exception, "__notes__", ()):
        if found := _NOTE.match(note):
            return found[1]
    return ""
