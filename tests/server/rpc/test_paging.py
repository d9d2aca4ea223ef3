"""Pages: their size, and the tokens that lead from one to the next."""

import base64

import pytest

from runwire.server.model.errors import InvalidFields
from runwire.server.model.ids import new_id
from runwire.server.rpc.fields import Fields
from runwire.server.rpc.paging import RESOURCES, STATES, PageRequest, PageSizes, read_page
from runwire.v1 import runs_pb2, threads_pb2


def read(request: object, sizes: PageSizes = RESOURCES) -> PageRequest:
    fields = Fields()
    page = read_page(request, fields, sizes)
    fields.check()
    return page


def refused(request: object) -> set[str]:
    with pytest.raises(InvalidFields) as caught:
        read(request)
    return {field for field, _ in caught.value.violations}


@pytest.mark.parametrize(
    ("sizes", "size", "limit"),
    [
        (RESOURCES, 0, 50),
        (RESOURCES, 1, 1),
        (RESOURCES, 500, 500),
        (RESOURCES, 501, 500),
        (STATES, 0, 10),
        (STATES, 2_000_000_000, 1000),
    ],
)
def test_the_size_has_a_default_and_a_cap(sizes: PageSizes, size: int, limit: int) -> None:
    assert read(runs_pb2.ListRunsRequest(page_size=size), sizes).limit == limit


def test_a_negative_size_is_refused() -> None:
    assert refused(runs_pb2.ListRunsRequest(page_size=-1)) == {"page_size"}


def test_a_token_leads_to_where_the_next_page_begins() -> None:
    request = runs_pb2.ListRunsRequest(thread_id=new_id(), page_size=5)
    first = read(request)
    assert first.cursor is None
    assert first.next_token(None) == ""
    request.page_token = first.next_token('["é", 1]')
    assert read(request).cursor == '["é", 1]'


def test_the_size_may_change_on_the_way() -> None:
    request = runs_pb2.ListRunsRequest(page_size=5)
    request.page_token = read(request).next_token("place")
    request.page_size = 7
    assert read(request).cursor == "place"


def test_a_token_of_another_filter_or_another_list_is_refused() -> None:
    token = read(runs_pb2.ListRunsRequest(thread_id=new_id())).next_token("place")
    assert refused(runs_pb2.ListRunsRequest(page_token=token)) == {"page_token"}
    assert refused(threads_pb2.ListThreadsRequest(page_token=token)) == {"page_token"}


@pytest.mark.parametrize("token", ["x", "%%%%", "é", "A" * 100, base64.b64encode(b"1").decode()])
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refused(runs_pb2.ListRunsRequest(page_token=token)) == {"page_token"}


def test_a_token_that_was_changed_is_refused() -> None:
    token = read(runs_pb2.ListRunsRequest()).next_token("place")
    for position in range(len(token)):
        other = "A" if token[position] != "A" else "B"
        changed = token[:position] + other + token[position + 1 :]
        assert refused(runs_pb2.ListRunsRequest(page_token=changed)) == {"page_token"}
