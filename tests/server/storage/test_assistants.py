from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from tests.support.records import an_assistant, at

from runwire.server.model.assistants import Assistant
from runwire.server.model.ids import new_id
from runwire.server.model.requests import Order, SortKey
from runwire.server.model.runs import RunConfig
from runwire.server.storage import assistants
from runwire.server.storage.assistants import AssistantFilter


def add(connection: Connection, seconds: float = 0, **changes: object) -> Assistant:
    assistant = an_assistant(seconds, **changes)
    assistants.add_assistant(connection, assistant)
    return assistant


def listed(connection: Connection, wanted: AssistantFilter, order: Order = Order()) -> list[str]:  # noqa: B008
    page = assistants.list_assistants(connection, wanted, order, limit=99, cursor=None)
    return [assistant.assistant_id for assistant in page.items]


def test_an_assistant_is_read_as_it_was_stored(connection: Connection) -> None:
    config = RunConfig(tags=("a",), recursion_limit=3, configurable={"k": 1})
    assistant = add(connection, config=config, context={"c": 1}, metadata={"m": [1]}, name="ü")
    assert assistants.get_assistant(connection, assistant.assistant_id) == assistant
    assert assistants.get_version(connection, assistant.assistant_id, 1) == assistant
    assert assistants.get_assistant(connection, new_id()) is None


def test_a_new_version_becomes_the_assistant_and_old_ones_stay(connection: Connection) -> None:
    first = add(connection)
    second = replace(first, version=2, name="second", context={"c": 2}, update_time=at(5))
    assistants.add_version(connection, second)
    assert assistants.get_assistant(connection, first.assistant_id) == second
    assert assistants.get_version(connection, first.assistant_id, 1) == first
    pinned = assistants.get_version(connection, first.assistant_id, 2)
    assert pinned == replace(second, create_time=at(5))
    assert assistants.get_version(connection, first.assistant_id, 3) is None
    assert assistants.newest_version(connection, first.assistant_id) == 2
    assert assistants.newest_version(connection, new_id()) == 0


def test_an_id_and_a_version_are_taken_once(connection: Connection) -> None:
    assistant = add(connection)
    with pytest.raises(IntegrityError):
        add(connection, assistant_id=assistant.assistant_id)


def test_assistants_are_found_by_graph_part_of_name_and_metadata(connection: Connection) -> None:
    one = add(connection, graph_id="one", name="100% Sure_Thing", metadata={"a": {"b": 1, "c": 2}})
    add(connection, graph_id="two", name="Other", metadata={"a": {"b": True}})
    for wish in (
        AssistantFilter(graph_id="one"),
        AssistantFilter(name="sure_t"),
        AssistantFilter(name="0%"),
        AssistantFilter(metadata={"a": {"b": 1}}),
    ):
        assert listed(connection, wish) == [one.assistant_id], wish
    assert listed(connection, AssistantFilter(name="%u")) == [], "no wildcards"
    assert listed(connection, AssistantFilter(name="sure-t")) == [], "no wildcards"
    assert len(listed(connection, AssistantFilter())) == 2


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(
    "key",
    [
        SortKey.ASSISTANT_ID,
        SortKey.GRAPH_ID,
        SortKey.CREATE_TIME,
        SortKey.UPDATE_TIME,
        SortKey.NAME,
    ],
)
def test_assistants_are_listed_in_pages_that_join_whatever_their_order(
    connection: Connection, key: SortKey, descending: bool
) -> None:
    made = [
        add(connection, seconds, name=name, graph_id=name * 2)
        for seconds, name in ((1, "b"), (1, "B"), (0, "b"), (2, "b"), (1, "ä"))
    ]
    wanted = sorted(
        made,
        key=lambda assistant: (getattr(assistant, key.value), assistant.assistant_id),
        reverse=descending,
    )
    found: list[Assistant] = []
    cursor = None
    for _ in range(3):
        page = assistants.list_assistants(
            connection, AssistantFilter(), Order(key, descending), limit=2, cursor=cursor
        )
        found += page.items
        cursor = page.next
    assert cursor is None
    assert found == wanted


def test_assistants_are_counted_by_what_they_are_listed_by(connection: Connection) -> None:
    for number in range(3):
        add(connection, graph_id="one", name=f"n{number}", metadata={"n": number % 2})
    for wish, count in (
        (AssistantFilter(), 3),
        (AssistantFilter(graph_id="one", metadata={"n": 0}), 2),
        (AssistantFilter(name="N1"), 1),
        (AssistantFilter(graph_id="two"), 0),
    ):
        assert assistants.count_assistants(connection, wish) == count
        assert len(listed(connection, wish)) == count


def test_versions_are_listed_highest_first_in_pages_and_by_metadata(
    connection: Connection,
) -> None:
    first = add(connection, metadata={"odd": True})
    for version in range(2, 6):
        newer = replace(
            first, version=version, metadata={"odd": version % 2 == 1}, update_time=at(version)
        )
        assistants.add_version(connection, newer)
    other = add(connection)

    def found(**query: object) -> tuple[list[int], str | None]:
        wanted: dict[str, Any] = {"metadata": {}, "limit": 9, "cursor": None, **query}
        page = assistants.list_versions(connection, first.assistant_id, **wanted)
        return [item.version for item in page.items], page.next

    assert found() == ([5, 4, 3, 2, 1], None)
    assert found(metadata={"odd": True}) == ([5, 3, 1], None)
    assert found(metadata={"odd": 1}) == ([], None), "true is not 1"
    versions, cursor = found(limit=2)
    assert versions == [5, 4]
    assert found(cursor=cursor) == ([3, 2, 1], None)
    page = assistants.list_versions(connection, other.assistant_id, {}, limit=9, cursor=None)
    assert page.items == [other]


def test_a_version_can_be_made_the_latest_and_none_is_lost(connection: Connection) -> None:
    first = add(connection, context={"c": 1})
    second = replace(first, version=2, graph_id="other", context=None, update_time=at(5))
    assistants.add_version(connection, second)

    restored = replace(first, update_time=at(9))
    assistants.set_latest(connection, restored)

    assert assistants.get_assistant(connection, first.assistant_id) == restored
    assert assistants.get_version(connection, first.assistant_id, 1) == first
    assert assistants.newest_version(connection, first.assistant_id) == 2


def test_an_assistant_is_deleted_with_its_versions(connection: Connection) -> None:
    assistant = add(connection)
    assert assistants.delete_assistant(connection, assistant.assistant_id)
    assert assistants.get_version(connection, assistant.assistant_id, 1) is None
    assert not assistants.delete_assistant(connection, assistant.assistant_id)


def test_several_are_stored_and_read_at_once(connection: Connection) -> None:
    made = [an_assistant(seconds) for seconds in range(3)]
    assistants.add_assistants(connection, made)
    assistants.add_assistants(connection, [])
    wanted = [made[0].assistant_id, new_id(), made[2].assistant_id]
    found = assistants.get_assistants(connection, wanted)
    assert found == {made[0].assistant_id: made[0], made[2].assistant_id: made[2]}
    for assistant in made:
        assert assistants.get_version(connection, assistant.assistant_id, 1) == assistant
    assert assistants.get_assistants(connection, []) == {}
