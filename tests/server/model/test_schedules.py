"""Schedules: when they are due, what daylight saving does to that, and what is no schedule."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runwire.server.model.schedules import InvalidSchedule, Schedule, is_time_zone

BERLIN, NEW_YORK, ADELAIDE = "Europe/Berlin", "America/New_York", "Australia/Adelaide"
MINUTE = timedelta(minutes=1)


def local(zone: str, text: str, times: int, start: str) -> list[str]:
    """When a schedule is due after a local time, on that zone's clocks and with their offset."""
    moment = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    schedule, found = Schedule(text, zone), []
    for _ in range(times):
        following = schedule.after(moment)
        assert following is not None
        assert following.tzinfo is UTC
        moment = following
        found.append(moment.astimezone(ZoneInfo(zone)).strftime("%d %H:%M %z"))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 9 * * *", "2026-01-01T09:30"),
        ("*/15 * * * *", "2026-01-01T00:15"),
        ("5-10/2 0 * * *", "2026-01-01T00:05"),
        ("0 12 * * mon-FRI", "2026-01-01T12:00"),
        ("0 0 * * 0", "2026-01-04T00:00"),
        ("0 0 * * 7", "2026-01-04T00:00"),
        ("0 0 * FEB *", "2026-02-01T00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("0 0 13 * FRI", "2026-01-02T00:00"),
        ("0 0 */1 * FRI", "2026-01-02T00:00"),
        ("0 0 L * *", "2026-01-31T00:00"),
        ("0 0 * * MON#2", "2026-01-12T00:00"),
        ("@daily", "2026-01-02T00:00"),
        (" @Hourly ", "2026-01-01T01:00"),
    ],
)
def test_a_schedule_is_due_when_its_fields_say(text: str, expected: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert Schedule(text, "UTC").after(start) == datetime.fromisoformat(expected + "Z")


def test_what_is_due_at_a_moment_is_not_due_after_it() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    schedule = Schedule("0 12 * * *", "UTC")
    assert schedule.after(noon - timedelta(microseconds=1)) == noon
    assert schedule.after(noon) == noon + timedelta(days=1)
    assert schedule.after(noon + timedelta(microseconds=1)) == noon + timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be five fields"),
        ("* * * *", "must be five fields"),
        ("0 * * * * *", "must be five fields"),
        ("@reboot", "must be five fields"),
        ("60 * * * *", "has a bad minute"),
        ("* 24 * * *", "has a bad hour"),
        ("* * 0 * *", "has a bad day-of-month"),
        ("* * * 13 *", "has a bad month"),
        ("* * * * 8", "has a bad day-of-week"),
        ("* * * * FRI-SUN", "has a bad day-of-week"),
        ("*/0 * * * *", "has a bad minute"),
        ("R * * * *", "has a bad minute"),
        ("é * * * *", "has a bad minute"),
        ("0 0 31 2 *", "is never due"),
        ("0 0 31 2,4 *", "is never due"),
        ("0 0 32 2 *", "has a bad day-of-month"),
        ("0 0 31 13 *", "has a bad month"),
        ("* * */20 * 1L", "is never due"),
        ("0," * 100 + "0 * * * *", "more than 200 characters"),
    ],
)
def test_what_is_no_schedule_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidSchedule, match=why):
        Schedule(text, "UTC")


@given(st.text("0123456789*/-,L#W RMONFEB@½²", max_size=30))
def test_any_text_is_a_schedule_or_refused(text: str) -> None:
    try:
        schedule = Schedule(text, "UTC")
    except InvalidSchedule:
        return
    assert schedule.after(datetime(2026, 1, 1, 12, tzinfo=UTC)) is not None


# A set time of the day comes once a day, whatever the clocks do.


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        (BERLIN, "2026-03-27T12:00", ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]),
        (BERLIN, "2026-10-23T12:00", ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"]),
        (NEW_YORK, "2026-03-06T12:00", ["07 02:30 -0500", "08 03:00 -0400", "09 02:30 -0400"]),
        (ADELAIDE, "2026-10-02T12:00", ["03 02:30 +0930", "04 03:00 +1030", "05 02:30 +1030"]),
        (ADELAIDE, "2026-04-03T12:00", ["04 02:30 +1030", "05 02:30 +1030", "06 02:30 +0930"]),
        ("Asia/Kathmandu", "2026-03-27T12:00", ["28 02:30 +0545", "29 02:30 +0545"]),
    ],
)
def test_a_set_time_comes_once_a_day(zone: str, day: str, expected: list[str]) -> None:
    assert local(zone, "30 2 * * *", len(expected), day) == expected


def test_a_time_in_the_repeated_hour_of_new_york_comes_in_the_first_of_the_two() -> None:
    assert local(NEW_YORK, "30 1 * * *", 2, "2026-11-01T00:00") == [
        "01 01:30 -0400",
        "02 01:30 -0500",
    ]


def test_several_set_times_in_the_gap_come_once_after_it() -> None:
    assert local(BERLIN, "0,30 2 * * *", 2, "2026-03-29T00:00") == [
        "29 03:00 +0200",
        "30 02:00 +0200",
    ]


def test_a_set_time_of_the_first_of_two_hours_is_not_due_in_the_second() -> None:
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time in Berlin
    following = Schedule("30 2 * * *", BERLIN).after(second)
    assert following == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


# What goes by the clock as it shows has nothing to do in the gap, and comes in both hours.


def test_every_half_hour_goes_on_through_both_changes() -> None:
    assert local(BERLIN, "*/30 * * * *", 3, "2026-03-29T01:00") == [
        *("29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200")
    ]
    assert local(BERLIN, "*/30 * * * *", 5, "2026-10-25T01:30") == [
        *("25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "25 03:00 +0100")
    ]


def test_every_quarter_of_an_hour_that_is_left_out_or_shown_twice() -> None:
    assert local(BERLIN, "*/30 2 * * *", 2, "2026-03-28T12:00") == [
        *("30 02:00 +0200", "30 02:30 +0200")
    ]
    assert local(BERLIN, "*/30 2 * * *", 4, "2026-10-25T01:30") == [
        *("25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100")
    ]


# A second reading of the fields, minute by minute.


def fits(field: str, value: int, low: int, high: int) -> bool:
    return any(_fits(part, value, low, high) for part in field.split(","))


def _fits(part: str, value: int, low: int, high: int) -> bool:
    span, _, step = part.partition("/")
    first, _, last = span.partition("-")
    begin = low if first == "*" else int(first)
    end = high if first == "*" or (step and not last) else int(last or first)
    return begin <= value <= end and (value - begin) % int(step or 1) == 0


def due_by_hand(text: str, zone: ZoneInfo, minute: datetime) -> bool:
    """Whether a schedule is due at a minute, by the clock as it shows."""
    minutes, hours, days, months, weekdays = text.split()
    clock = minute.astimezone(zone)
    of_month = fits(days, clock.day, 1, 31)
    of_week = fits(weekdays, clock.isoweekday() % 7, 0, 6)
    both = days.startswith("*") or weekdays.startswith("*")
    return (
        fits(minutes, clock.minute, 0, 59)
        and fits(hours, clock.hour, 0, 23)
        and fits(months, clock.month, 1, 12)
        and (of_month and of_week if both else of_month or of_week)
    )


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    ranges = st.tuples(numbers, numbers).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    # Of a range of one number cronsim says that its step goes on to the end of the field.
    spans = ranges.filter(lambda span: len(set(span.split("-"))) == 2)
    starts = st.one_of(st.just("*"), spans)
    steps = st.tuples(starts, st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    parts = st.one_of(numbers.map(str), ranges, steps)
    lists = st.lists(parts, min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), lists)


ANY = st.tuples(
    fields(0, 59), fields(0, 23), st.one_of(st.just("*"), fields(1, 28)), st.just("*"), fields(0, 6)
).map(" ".join)
WALL = st.tuples(
    st.one_of(st.just("*"), st.integers(1, 59).map(lambda step: f"*/{step}")),
    fields(0, 23),
    st.just("* *"),
    fields(0, 6),
).map(" ".join)
SPAN = 30 * 60
"""Minutes that are looked at by hand."""


def check(text: str, zone: str, start: datetime) -> None:
    by_hand = [
        minute
        for number in range(1, SPAN + 1)
        if due_by_hand(text, ZoneInfo(zone), minute := start + number * MINUTE)
    ]
    schedule, found = Schedule(text, zone), []
    moment = schedule.after(start)
    while moment is not None and moment <= start + SPAN * MINUTE:
        found.append(moment)
        moment = schedule.after(moment)
    assert found == by_hand
    count = schedule.passed(start, start + SPAN * MINUTE, at_most=SPAN)
    assert count == len(by_hand)


@given(ANY, st.integers(0, 60 * 24 * 700), st.sampled_from(["UTC", "Asia/Kathmandu"]))
@settings(max_examples=40)
def test_a_schedule_is_due_in_every_minute_that_fits(text: str, minutes: int, zone: str) -> None:
    check(text, zone, datetime(2026, 1, 1, tzinfo=UTC) + minutes * MINUTE)


@given(
    WALL,
    st.sampled_from(
        [
            (BERLIN, datetime(2026, 3, 28, 12, tzinfo=UTC)),
            (BERLIN, datetime(2026, 10, 24, 12, tzinfo=UTC)),
            (NEW_YORK, datetime(2026, 3, 7, 12, tzinfo=UTC)),
            (NEW_YORK, datetime(2026, 10, 31, 12, tzinfo=UTC)),
            (ADELAIDE, datetime(2026, 4, 4, 12, tzinfo=UTC)),
            (ADELAIDE, datetime(2026, 10, 3, 12, tzinfo=UTC)),
        ]
    ),
)
@settings(max_examples=40)
def test_what_goes_by_the_clock_fits_it_through_both_changes(
    text: str, change: tuple[str, datetime]
) -> None:
    zone, start = change
    check(text, zone, start)


def test_no_more_is_counted_than_was_asked_for() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    schedule = Schedule("* * * * *", "UTC")
    assert schedule.passed(start, start + timedelta(days=365), at_most=10) == 10
    assert schedule.passed(start, start, at_most=10) == 0


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("UTC", True),
        (BERLIN, True),
        ("Etc/GMT+5", True),
        ("europe/berlin", False),
        ("Europe", False),
        ("CEST", False),
        ("localtime", False),
        ("../../etc/passwd", False),
        ("", False),
    ],
)
def test_zones_are_those_of_the_iana_database(name: str, known: bool) -> None:
    assert is_time_zone(name) is known
