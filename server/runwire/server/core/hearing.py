"""Acting on what the other servers of a database say."""

from runwire.server.core.follow import Follower
from runwire.server.core.local import LocalRunner
from runwire.server.storage.notifications import Kind, Notices


class Hearing:
    """Wakes, in this process, whom a notification is meant for. Called on the gRPC loop."""

    def __init__(self, follower: Follower, runner: LocalRunner) -> None:
        self._follower = follower
        self._runner = runner

    def __call__(self, notices: Notices | None) -> None:
        """Act on notices; None: on all that may have been said and was not heard."""
        if notices is None:
            self._follower.told(None)
            self._runner.told_of_work()
            self._runner.told_of_cancels(None)
            return
        if run_ids := notices.get(Kind.RUNS):
            self._follower.told(run_ids)
        if run_ids := notices.get(Kind.CANCELS):
            self._runner.told_of_cancels(run_ids)
        if Kind.WORK in notices:
            self._runner.told_of_work()
