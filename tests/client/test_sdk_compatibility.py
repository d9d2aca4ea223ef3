"""Who comes from langgraph_sdk changes one import: names, parameters, defaults stay, but for what
the page about that lists."""

import json
from collections import Counter
from importlib import resources
from typing import Any

import pytest
from langgraph_sdk import errors
from tests.support.migration import differences_on_the_page, table, words
from tests.support.recorded_calls import observe
from tests.support.sdk_arguments import all_methods, idle_arguments, refused_words, required
from tests.support.sdk_surface import (
    FACES,
    Found,
    absent_names,
    differences,
    methods_of,
    nouns_of,
    parameters_of,
    sdk_client,
)

from runwire import client as package
from runwire.client.convert import RUN_STATUSES, word
from runwire.v1 import core_pb2

SEEN_BY_CALLING = ("refused", "without effect")


def test_every_parameter_is_there_with_its_default() -> None:
    found = {one for face in FACES for one in differences(face)} | absent_names()
    page = {one for one in differences_on_the_page() if one.kind not in SEEN_BY_CALLING}
    # Of results there are also those that only a server shows: tests/client/test_sdk_results.py.
    page -= {one for one in page if one.where[0].isupper()}
    assert found - page == set(), "differs from langgraph_sdk, and docs/migration.md says nothing"
    assert page - found == set(), "docs/migration.md says that it differs, and it does not any more"


@pytest.mark.parametrize("face", FACES)
async def test_every_argument_does_something_or_is_refused_by_its_name(face: str) -> None:
    found = await idle_arguments(face) | await refused_words(face)
    page = {one for one in differences_on_the_page() if one.kind in SEEN_BY_CALLING}
    assert found - page == set()
    assert page - found == set()


def test_no_difference_is_listed_twice() -> None:
    assert [one for one, times in Counter(differences_on_the_page()).items() if times > 1] == []


def test_a_client_that_differed_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def get(self: Any, thread: str, *, headers: Any = 1, more: Any = None) -> None: ...

    monkeypatch.setattr(package.client.ThreadsClient, "get", get)
    assert {
        Found("absent", "threads.get(thread_id)"),
        Found("absent", "threads.get(params)"),
        Found("added", "threads.get(more)"),
        Found("default", "threads.get(headers)"),
        Found("place", "threads.get"),
        Found("result", "threads.get"),
    } <= differences("async")


METHODS = [
    pytest.param(face, noun, name, method, id=f"{face}-{noun}.{name}")
    for face in FACES
    for noun, name, method in all_methods(face)
    if name in methods_of(nouns_of(sdk_client(face)).get(noun))
]


@pytest.mark.parametrize(("face", "noun", "name", "method"), METHODS)
async def test_a_default_that_is_given_is_the_same_as_one_that_is_not(
    face: str, noun: str, name: str, method: Any
) -> None:
    needed = required(noun, name, method)
    theirs = parameters_of(methods_of(nouns_of(sdk_client(face))[noun])[name])
    plain = {
        key: one.default
        for key, one in theirs.items()
        if key not in needed and type(one.default) is not object
    }
    # Modes are sent as they are given: the server's own are the same.
    modes = {key: plain[key] for key in ("stream_mode",) if key in plain}
    seen, _ = await observe(face, noun, name, {**needed, **modes})
    given, _ = await observe(face, noun, name, {**needed, **plain})
    assert given == seen


def test_statuses_are_what_the_page_says() -> None:
    page = {words(state)[0]: words(status)[0] for state, status in table("`state`")}
    assert page == {word(core_pb2.RunState, state): told for state, told in RUN_STATUSES.items()}


def test_all_errors_of_the_sdk_have_one_of_ours_on_the_page() -> None:
    rows = table("`langgraph_sdk.errors`")
    theirs = {name for row in rows for name in words(row[0])}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    raised = {kind.__name__ for kind in kinds if issubclass(kind, errors.LangGraphError)}
    assert theirs == raised - {"APIStatusError", "APIResponseValidationError"}
    ours = {name for row in rows for name in words(row[2])}
    assert all(issubclass(getattr(package, name), package.RunwireError) for name in ours)


@pytest.mark.parametrize("face", FACES)
async def test_every_call_that_is_safe_with_a_request_id_has_one_from_the_client(face: str) -> None:
    ids = {}
    for noun, name, method in all_methods(face):
        _, calls = await observe(face, noun, name, required(noun, name, method))
        ids.update(calls.request_ids)
    assert safe_with_request_ids() <= ids.keys()
    assert [rpc for rpc, request_id in ids.items() if not request_id] == []


def safe_with_request_ids() -> set[str]:
    """The methods that a channel repeats by itself only if their requests have ids."""
    with_ids, without = (
        {
            f"{one['service'].rpartition('.')[2]}.{one['method']}"
            for entry in json.loads(resources.files("runwire.v1").joinpath(name).read_bytes())[
                "methodConfig"
            ]
            for one in entry["name"]
        }
        for name in ("service_config_request_ids.json", "service_config.json")
    )
    return with_ids - without
