"""What a webhook is to say, stored in the transaction that ends its run: whichever server dies, a
run that has ended with a webhook has a delivery, and one that has not ended has none."""

from typing import Any
from urllib.parse import urlsplit

import orjson

from runwire.server.model.ids import new_id
from runwire.server.model.runs import Cancel, Interrupt, Run, RunError
from runwire.server.model.webhook_urls import host_of
from runwire.server.model.webhooks import Delivery
from runwire.server.storage.database import Connection
from runwire.server.storage.webhooks import add_delivery

LARGEST_VALUE = 256 * 1024
"""Characters of JSON that an output has at most, and the interrupts' values together, to be in a
delivery."""


def note_end(connection: Connection, run: Run) -> None:
    """Store what is to be told of a run that ends in this transaction; nothing without a
    webhook."""
    if not run.spec.webhook:
        return
    assert run.end_time is not None
    event_type = f"run.{run.state.value}"
    delivery = Delivery(
        delivery_id=new_id(),
        run_id=run.run_id,
        url=run.spec.webhook,
        host=host_of(urlsplit(run.spec.webhook)),
        event_type=event_type,
        body=orjson.dumps(_content(run, event_type), option=orjson.OPT_UTC_Z).decode(),
        create_time=run.end_time,
        due_time=run.end_time,
    )
    add_delivery(connection, delivery)


def _content(run: Run, event_type: str) -> dict[str, Any]:
    output = run.output
    is_large = output is not None and len(output) > LARGEST_VALUE
    values = sum(len(interrupt.value) for interrupt in run.interrupts)
    return {
        "type": event_type,
        "timestamp": run.end_time,
        "data": {
            "run": _run(run),
            "output": None if output is None or is_large else orjson.Fragment(output),
            "output_omitted": is_large,
            "interrupts": [
                _interrupt(interrupt, omitted=values > LARGEST_VALUE)
                for interrupt in run.interrupts
            ],
        },
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "assistant_version": run.assistant_version,
        "graph_id": run.graph_id,
        "state": run.state.value,
        "metadata": run.metadata,
        "attempt": run.attempt,
        "error": _error(run.error),
        "cancel": _cancel(run.cancel),
        "create_time": run.create_time,
        "start_time": run.start_time,
        "end_time": run.end_time,
    }


def _error(error: RunError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "type": error.type,
        "message": error.message,
        "node": error.node,
        "attempt": error.attempt,
        "error_id": error.error_id,
    }


def _cancel(cancel: Cancel | None) -> dict[str, Any] | None:
    if cancel is None:
        return None
    return {
        "action": cancel.action.value,
        "cause": cancel.cause.value,
        "abandoned": cancel.abandoned,
        "request_time": cancel.request_time,
    }


def _interrupt(interrupt: Interrupt, *, omitted: bool) -> dict[str, Any]:
    return {
        "interrupt_id": interrupt.interrupt_id,
        "value": None if omitted else orjson.Fragment(interrupt.value),
        "value_omitted": omitted,
    }
