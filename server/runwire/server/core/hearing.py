"""Acting on what the other servers of a database say."""

from runwire.server.core.local import LocalRunner
from runwire.server.core.logs import RunLogs
from runwire.server.storage.notifications import Kind, Notices


class Hearing:
    """Wakes, in this process, whom a notification is meant for. Called on the gRPC loop."""

    def __init__(self, logs: RunLogs, runner: LocalRunner) -> None:
        self._logs = logs
        self._runner = runner

    def __call__(self, notices: Notices | None) -> None:
        """Act on notices; None: on all that may have been said and was not heard."""
        if notices is None:
            self._logs.told_all()
            self._runner.told_of_work()
            self._runner.told_of_cancels(None)
            return
        if run_ids := notices.get(Kind.RUNS):
            self._logs.told(run_ids)
        if run_ids := notices.get(Kind.CANCELS):
            self._runner.told_of_cancels(run_ids)
        if Kind.WORK in notices:
            self._runner.told_of_work()
