"""Schedules: when a cron fires, five fields read in a time zone."""

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import cache
from importlib.resources import files
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MAX_CHARACTERS = 200

_FIELDS = 5

_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_NEVER = "is never due: there is no such day"

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class InvalidSchedule(ValueError):
    """A text that is no schedule. The message says what about it is wrong."""


class Schedule:
    """When something is due, again and again, in a time zone. Moments are given in UTC.

    What `cronsim` makes of the hour that daylight saving skips or repeats is what Debian's cron
    does: see `CronService`.
    """

    def __init__(self, text: str, time_zone: str) -> None:
        """Read a schedule; `time_zone` is a name that `is_time_zone` takes. Raises
        `InvalidSchedule`."""
        if len(text) > MAX_CHARACTERS:
            raise InvalidSchedule(f"has more than {MAX_CHARACTERS} characters")
        self._fields = _WORDS.get(text.strip().lower(), text)
        self._zone: tzinfo = UTC if time_zone == "UTC" else ZoneInfo(time_zone)
        if len(self._fields.split()) != _FIELDS:
            raise InvalidSchedule(
                "must be five fields, such as 30 9 * * MON-FRI: minute, hour, day of the month, "
                f"month, day of the week; or one of {', '.join(_WORDS)}"
            )
        try:
            comes = self.after(_ANY_TIME) is not None
        except CronSimError as error:
            if self._lacks_only_the_month(str(error)):
                raise InvalidSchedule(_NEVER) from None
            raise InvalidSchedule(f"has a {str(error).lower()}") from None
        if not comes:
            raise InvalidSchedule(_NEVER)

    def _lacks_only_the_month(self, problem: str) -> bool:
        """Whether the day that is a problem would be none in other months."""
        minute, hour, day, _, weekday = self._fields.split()
        try:
            CronSim(f"{minute} {hour} {day} * {weekday}", _ANY_TIME)
        except CronSimError:
            return False
        return "day-of-month" in problem

    def after(self, moment: datetime) -> datetime | None:
        """Return when it is due for the first time after a moment; None if never."""
        return next(self._times(moment), None)

    def passed(self, after: datetime, until: datetime, *, at_most: int) -> int:
        """Return how often it was due after a moment and until another, counting no further than
        `at_most`."""
        times = takewhile(lambda time: time <= until, self._times(after))
        return sum(1 for _ in islice(times, at_most))

    def _times(self, moment: datetime) -> Iterator[datetime]:
        for local in CronSim(self._fields, moment.astimezone(self._zone)):
            time = local.astimezone(UTC)
            # In an hour that is shown twice, cronsim may begin with the first of the two.
            if time > moment:
                yield time


def is_time_zone(name: str) -> bool:
    """Return whether the IANA database has a time zone of this name, in these very letters."""
    return name in _time_zones()


@cache
def _time_zones() -> frozenset[str]:
    # Not what this machine has: the servers of a database must agree.
    return frozenset((files("tzdata") / "zones").read_text(encoding="utf-8").split())
