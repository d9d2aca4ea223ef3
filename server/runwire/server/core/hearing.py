"""Acting on what the other servers of a database say."""

from collections.abc import Callable

from runwire.server.core.follow import Follower
from runwire.server.core.local import LocalRunner
from runwire.server.core.news import News
from runwire.server.storage.notifications import Kind, Notices


class Hearing:
    """Wakes, in this process, whom a notification is meant for. Called on the gRPC loop."""

    def __init__(
        self,
        follower: Follower,
        runner: LocalRunner,
        news: News,
        told_of_crons: Callable[[], None],
    ) -> None:
        """`told_of_crons`: looks again when a cron fires next."""
        self._follower = follower
        self._runner = runner
        self._news = news
        self._told_of_crons = told_of_crons

    def __call__(self, notices: Notices | None) -> None:
        """Act on notices; None: on all that may have been said and was not heard."""
        if notices is None:
            self._follower.told(None)
            self._runner.told_of_work()
            self._runner.told_of_cancels(None)
            self._told_of_crons()
            self._news.told(None)
            return
        # Whatever is said, runs may have moved.
        self._news.told(notices.get(Kind.MOVES, ()))
        if run_ids := notices.get(Kind.RUNS):
            self._follower.told(run_ids)
        if run_ids := notices.get(Kind.CANCELS):
            self._runner.told_of_cancels(run_ids)
        if Kind.WORK in notices:
            self._runner.told_of_work()
        if Kind.CRONS in notices:
            self._told_of_crons()
