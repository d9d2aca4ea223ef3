"""Who waits for news of a thread, or of any run, is woken for those and for no others."""

import asyncio
from typing import Any, cast

import pytest
from tests.support.engine import Engine, until

from runwire.server.core.news import News


@pytest.fixture
def news() -> News:
    return News(cast(Any, None))


async def test_news_of_a_thread_wake_its_readers_and_all_watchers(news: News) -> None:
    with news.of_thread("a") as a, news.of_thread("b") as b, news.of_runs() as runs:
        waiting = [one.news(0) for one in (a, b, runs)]
        news.told(["a", None, "unknown"])
        assert [one.done() for one in waiting] == [True, False, True]
        news.told(None)
        assert waiting[1].done()


async def test_what_came_before_it_was_waited_for_is_not_lost(news: News) -> None:
    with news.of_thread("a") as a:
        seen = a.wakes
        news.told(["a"])
        await asyncio.wait_for(a.news(seen), 60)
        assert not a.news(a.wakes).done()


async def test_who_waits_no_more_leaves_nothing(news: News) -> None:
    with news.of_thread("a") as a:
        a.news(a.wakes).cancel()
        await asyncio.sleep(0)
        assert not a._waiters
        with news.of_thread("a") as again:
            assert again is a
        assert news._threads
    assert not news._threads


@pytest.mark.usefixtures("no_polls")
async def test_what_this_server_commits_is_heard_at_once(engine: Engine) -> None:
    thread_id = await engine.thread()
    with engine.news.of_thread(thread_id) as mine, engine.news.of_runs() as runs:
        for seen in range(2):
            other = await engine.run("echo")
            await until(lambda: runs.wakes > seen)  # noqa: B023 - awaited at once
        # A listener that has just connected says that anything may be new, once.
        assert mine.wakes <= engine.database.shared, "a run without a thread is no news of one"
        seen = runs.wakes
        await engine.runs.delete(other.run_id)
        await until(lambda: runs.wakes > seen)
        await engine.run("echo", thread_id=thread_id)
        await until(lambda: mine.wakes)


async def test_readers_that_ask_for_the_same_share_one_read(engine: Engine) -> None:
    asked: list[int] = []

    def ask(connection: object) -> int:
        asked.append(1)
        return len(asked)

    answers = await asyncio.gather(*(engine.news.read_once("one", ask) for _ in range(5)))
    assert (answers, asked) == ([1] * 5, [1])
    assert await engine.news.read_once("one", ask) == 2
