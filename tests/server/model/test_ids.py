import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from runwire.server.model import ids
from runwire.server.model.ids import canonical_id, default_assistant_id, new_id


def test_a_new_id_is_a_uuid_of_version_7_in_its_canonical_form() -> None:
    made = new_id()
    parsed = uuid.UUID(made)
    assert str(parsed) == made
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_a_new_id_holds_the_time_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns() + 10**18
    monkeypatch.setattr(ids.time, "time_ns", lambda: now)
    monkeypatch.setattr(ids, "_last", (0, 0))
    assert uuid.UUID(new_id()).int >> 80 == now // 1_000_000


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_of_many_threads_are_all_different() -> None:
    with ThreadPoolExecutor(8) as threads:
        parts = list(threads.map(lambda _: [new_id() for _ in range(500)], range(8)))
    assert all(part == sorted(part) for part in parts)
    assert len({made for part in parts for made in part}) == 4000


def test_ids_go_on_from_where_they_were_when_the_clock_steps_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = new_id()
    monkeypatch.setattr(ids.time, "time_ns", lambda: 0)
    made = [new_id() for _ in range(5000)]
    assert [before, *made] == sorted([before, *made])


@pytest.mark.parametrize(
    "text",
    [
        "01a202fc-0859-7015-aead-cf52f2c36f35",
        "01A202FC-0859-7015-AEAD-CF52F2C36F35",
        "00000000-0000-0000-0000-000000000000",
    ],
)
def test_an_id_in_either_case_of_letters_has_one_form(text: str) -> None:
    assert canonical_id(text) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "echo",
        "01a202fc08597015aeadcf52f2c36f35",
        "{01a202fc-0859-7015-aead-cf52f2c36f35}",
        "urn:uuid:01a202fc-0859-7015-aead-cf52f2c36f35",
        "01a202fc-0859-7015-aead-cf52f2c36f3",
        "01a202fc-0859-7015-aead-cf52f2c36f35 ",
        "01a202fc-0859-7015-aead-cf52f2c36fgg",
        "01a202fc0-859-7015-aead-cf52f2c36f35",
        "01a202fc-0859-7015-aead-cf52f2c36f3٣",
        "{01a202fc08597015aeadcf52f2c36f35}--",
    ],
)
def test_what_the_server_never_printed_is_no_id(text: str) -> None:
    assert canonical_id(text) is None


def test_a_graph_has_the_same_default_assistant_on_every_server() -> None:
    assert default_assistant_id("echo") == "c390150b-4283-5fb6-af93-44240e4593f7"
    assert canonical_id(default_assistant_id("echo")) == default_assistant_id("echo")
    assert default_assistant_id("echo") != default_assistant_id("Echo")
