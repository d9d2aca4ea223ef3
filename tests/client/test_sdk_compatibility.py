"""Who comes from langgraph_sdk changes one import: names, parameters, defaults, results stay."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
from langgraph_sdk import schema
from langgraph_sdk.client import (
    AssistantsClient,
    CronClient,
    RunsClient,
    StoreClient,
    ThreadsClient,
)

from runwire.client import RunwireClient, assistants, crons, runs, store, threads
from runwire.client.specs import AttendedRunOptions, RunOptions

CLIENTS = [
    (assistants.AssistantsClient, AssistantsClient),
    (threads.ThreadsClient, ThreadsClient),
    (runs.RunsClient, RunsClient),
    (store.StoreClient, StoreClient),
    (crons.CronsClient, CronClient),
]

OPTIONS: dict[str, type] = {
    "stream": AttendedRunOptions,
    "wait": AttendedRunOptions,
    "create": RunOptions,
}


def public_methods(client: type) -> dict[str, Callable[..., Any]]:
    return {
        name: method
        for name, method in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_")
    }


ONLY_OURS = {
    (runs.RunsClient, "watch"),
    (threads.ThreadsClient, "get_storage"),
    (crons.CronsClient, "get"),
}

METHODS = [
    pytest.param(method, public_methods(theirs)[name], id=f"{ours.__module__}.{name}")
    for ours, theirs in CLIENTS
    for name, method in public_methods(ours).items()
    if (ours, name) not in ONLY_OURS
]


@pytest.mark.parametrize(("ours", "theirs"), METHODS)
def test_every_parameter_is_there_with_its_default(
    ours: Callable[..., Any], theirs: Callable[..., Any]
) -> None:
    known = inspect.signature(ours).parameters
    options = OPTIONS.get(ours.__name__) if "options" in known else None
    for name, parameter in inspect.signature(theirs).parameters.items():
        if options is not None and name in options.__annotations__:
            continue
        if type(parameter.default) is not object:  # what stands for "not given"
            assert known[name].default == parameter.default, name
        assert known[name].kind == parameter.kind, name


@pytest.mark.parametrize(("ours", "theirs"), METHODS)
def test_parameters_that_are_only_ours_are_named(
    ours: Callable[..., Any], theirs: Callable[..., Any]
) -> None:
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    added = inspect.signature(ours).parameters.keys() - inspect.signature(theirs).parameters.keys()
    assert all(inspect.signature(ours).parameters[name].kind != positional for name in added)


def shape(kind: type) -> set[str]:
    optional = {name for name, hint in kind.__annotations__.items() if "NotRequired" in str(hint)}
    return set(get_type_hints(kind)) - optional


async def test_results_have_the_shapes_they_had(client: RunwireClient) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "asks_in_subgraph", input={})
    (run,) = await client.runs.list(thread["thread_id"])
    cron = await client.crons.create("echo", schedule="@yearly")
    state = await client.threads.get_state(thread["thread_id"], subgraphs=True)
    thread = await client.threads.get(thread["thread_id"])
    await client.store.put_item(["n"], "k", {"a": 1})
    found = await client.store.search_items(["n"])
    results: list[tuple[Any, type]] = [
        (await client.store.get_item(["n"], "k"), schema.Item),
        (found, schema.SearchItemsResponse),
        (found["items"][0], schema.SearchItem),
        (await client.store.list_namespaces(), schema.ListNamespaceResponse),
        (await client.assistants.get("echo"), schema.Assistant),
        (await client.assistants.get_schemas("echo"), schema.GraphSchema),
        (thread, schema.Thread),
        (run, schema.Run),
        (cron, schema.Cron),
        (state, schema.ThreadState),
        (state["tasks"][0], schema.ThreadTask),
        (state["checkpoint"], schema.Checkpoint),
        (state["interrupts"][0], schema.Interrupt),
    ]
    for result, kind in results:
        assert shape(kind) <= set(result), kind
