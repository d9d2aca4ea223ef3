"""What a call that starts runs brings along from where it is made: the trace that it belongs to,
and the runs whose nodes wait for it."""

import re
from collections.abc import Sequence
from dataclasses import replace

from runwire.server.model.ids import canonical_id
from runwire.server.model.runs import RunSpec
from runwire.server.rpc.calls import Context

AWAITED_BY = "runwire-awaited-by"
"""The metadata that names the runs that wait for the one to be started, the outermost first."""

MAX_AWAITING = 64

_ONE = {
    "traceparent": re.compile(
        r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,200})?"
    ),
    "langsmith-trace": re.compile(r"[!-~]{1,4096}"),
}
_LISTS = {"tracestate": 512, "baggage": 4096}
"""Characters that are taken of those that may come in several pieces."""

_PRINTABLE = re.compile(r"[ -~]+")


def read_trace(context: Context) -> dict[str, str]:
    """Return the trace context that came with a call.

    What is malformed, too long, or ambiguous is left out: a call never fails for its trace.
    """
    came: dict[str, list[str]] = {}
    for key, value in context.invocation_metadata() or ():
        if (key in _ONE or key in _LISTS) and isinstance(value, str):
            came.setdefault(key, []).append(value)
    found = {
        key: came[key][0]
        for key, form in _ONE.items()
        if len(came.get(key, ())) == 1 and form.fullmatch(came[key][0])
    }
    for key, longest in _LISTS.items():
        text = ",".join(came.get(key, ()))
        if len(text) <= longest and _PRINTABLE.fullmatch(text):
            found[key] = text
    if "traceparent" not in found:
        found.pop("tracestate", None)  # says nothing by itself
    return found


def read_awaiting(context: Context) -> tuple[str, ...]:
    """Return the runs that wait for what a call starts; what is no id is left out."""
    names = [value for key, value in context.invocation_metadata() or () if key == AWAITED_BY]
    ids = [canonical_id(name.strip()) for value in names for name in str(value).split(",")]
    return tuple(run_id for run_id in ids if run_id)[-MAX_AWAITING:]


def surrounded(
    specs: Sequence[RunSpec], context: Context, *, awaited: bool = False
) -> list[RunSpec]:
    """Return what to run together with what came along with the call; `awaited` says that the call
    lasts until the runs end."""
    trace = read_trace(context)
    awaited_by = read_awaiting(context) if awaited else ()
    return [replace(spec, trace=trace, awaited_by=awaited_by) for spec in specs]
