from dataclasses import replace

from sqlalchemy import Connection
from tests.support.plans import postgres_plans, sqlite_plans
from tests.support.records import at

from runwire.server.model.requests import RequestKey
from runwire.server.storage.requests import (
    Answered,
    add_request,
    delete_expired,
    find_request,
)


def key(request_id: str, body_hash: bytes = b"") -> RequestKey:
    return RequestKey("CreateRun", request_id, body_hash)


def test_an_answer_is_found_by_method_and_id_while_it_counts(connection: Connection) -> None:
    add_request(connection, key("id", b"hash"), ["a", "b"], at(10))
    found = Answered(b"hash", ["a", "b"])
    assert find_request(connection, key("id"), since=at(9)) == found
    assert find_request(connection, key("id"), since=at(10)) is None
    assert find_request(connection, key("other"), since=at(0)) is None
    assert find_request(connection, replace(key("id"), method="RunWait"), since=at(0)) is None
    assert find_request(connection, replace(key("id"), principal="ada"), since=at(0)) is None


def test_the_same_id_of_somebody_else_is_another_one(connection: Connection) -> None:
    ada = replace(key("id"), principal="ada")
    add_request(connection, ada, ["a"], at(10))
    add_request(connection, key("id"), ["b"], at(10))
    assert find_request(connection, ada, since=at(9)) == Answered(b"", ["a"])
    assert find_request(connection, key("id"), since=at(9)) == Answered(b"", ["b"])


def test_an_answer_takes_the_place_of_one_that_is_too_old_to_count(connection: Connection) -> None:
    add_request(connection, key("id", b"old"), ["a"], at(0))
    add_request(connection, key("id", b"new"), ["b"], at(10))
    assert find_request(connection, key("id"), since=at(5)) == Answered(b"new", ["b"])


def test_old_answers_are_deleted(connection: Connection) -> None:
    for seconds in range(4):
        add_request(connection, key(str(seconds), b""), [], at(seconds))
    assert delete_expired(connection, before=at(2), limit=9) == 2
    assert delete_expired(connection, before=at(2), limit=9) == 0
    assert find_request(connection, key("2"), since=at(0)) is not None


def test_the_oldest_answers_go_first_and_only_some_at_once(connection: Connection) -> None:
    for seconds in (3, 0, 4, 1, 2):
        add_request(connection, key(str(seconds), b""), [], at(seconds))
    assert delete_expired(connection, before=at(9), limit=2) == 2
    left = [
        seconds for seconds in range(5) if find_request(connection, key(str(seconds)), since=at(-1))
    ]
    assert left == [2, 3, 4]
    assert delete_expired(connection, before=at(9), limit=9) == 3


def test_old_answers_are_found_by_their_index(memory: Connection, filled: Connection) -> None:
    found = postgres_plans(filled, lambda c: delete_expired(c, before=at(2), limit=9))
    assert not [line for line in found if "Seq Scan" in line], found
    found = sqlite_plans(memory, lambda c: delete_expired(c, before=at(2), limit=9))
    steps = [step for step in found if step.startswith(("SEARCH", "SCAN requests"))]
    assert ["PRIMARY KEY" in steps[0], "ix_requests_create_time" in steps[1]] == [True, True]
    assert len(steps) == 2, found
