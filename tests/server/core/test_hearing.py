"""What other servers say wakes whom it is meant for, and nobody else."""

from collections.abc import Collection
from typing import Any, cast

import pytest

from runwire.server.core.hearing import Hearing
from runwire.server.storage.notifications import Kind, Notices


class Heard:
    """Notes what it is told, as a follower and as a runner."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def told(self, run_ids: Collection[str] | None) -> None:
        self.said.append(("runs", None if run_ids is None else set(run_ids)))

    def told_of_work(self) -> None:
        self.said.append("work")

    def told_of_cancels(self, run_ids: Collection[str] | None) -> None:
        self.said.append(("cancels", None if run_ids is None else set(run_ids)))

    def told_of_crons(self) -> None:
        self.said.append("crons")


@pytest.mark.parametrize(
    ("notices", "said"),
    [
        ({Kind.RUNS: {"a", "b"}}, [("runs", {"a", "b"})]),
        ({Kind.CANCELS: {"a"}}, [("cancels", {"a"})]),
        ({Kind.WORK: set()}, ["work"]),
        ({Kind.CRONS: set()}, ["crons"]),
        (
            {Kind.RUNS: {"a"}, Kind.WORK: set(), Kind.CANCELS: {"b"}},
            [("runs", {"a"}), ("cancels", {"b"}), "work"],
        ),
        (None, [("runs", None), "work", ("cancels", None), "crons"]),
    ],
)
def test_each_notice_reaches_whom_it_is_meant_for(notices: Notices | None, said: list[Any]) -> None:
    heard = Heard()
    Hearing(cast(Any, heard), cast(Any, heard), cast(Any, Heard()), heard.told_of_crons)(notices)
    assert heard.said == said


@pytest.mark.parametrize(
    ("notices", "said"),
    [
        ({Kind.MOVES: {"thread"}}, {"thread"}),
        ({Kind.RUNS: {"run"}}, set()),
        ({Kind.WORK: set()}, set()),
        (None, None),
    ],
)
def test_whatever_is_said_is_news_of_runs(notices: Notices | None, said: set[str] | None) -> None:
    heard, news = Heard(), Heard()
    Hearing(cast(Any, heard), cast(Any, heard), cast(Any, news), heard.told_of_crons)(notices)
    assert news.said == [("runs", said)]
