"""A PostgreSQL server that is away: how long it is waited for, and what the log says about it."""

import logging
import time

from runwire.server.storage.addresses import shown, without_password

_logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 3.0
"""How long a server that is away is waited for before callers are told so: one that restarts is
back by then. While it stays away, callers are told at once."""


class Outage:
    """Whether a server is away, and since when. From any thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._since: float | None = None
        self._is_told = False

    def may_pass(self, error: Exception) -> bool:
        """Return whether to try again soon, after an attempt to reach the server has failed."""
        now = time.monotonic()
        since = self._since
        if since is None:
            self._since = since = now
        if now - since < RECONNECT_SECONDS:
            return True
        if not self._is_told:
            self._is_told = True
            why = without_password(str(getattr(error, "orig", None) or error), self._url)
            facts = {"database": shown(self._url), "reason": why}
            _logger.warning("the database cannot be reached", extra=facts)
        return False

    def is_over(self) -> None:
        """Note that the server has been reached."""
        since, self._since = self._since, None
        if since is not None and self._is_told:
            self._is_told = False
            seconds = round(time.monotonic() - since, 1)
            _logger.warning("the database can be reached again", extra={"seconds": seconds})
