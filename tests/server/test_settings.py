"""Settings: where they come from, what is refused, and in which words."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.receivers import OTHER_SECRET, SECRET

from runwire.server.options import flags_of
from runwire.server.settings import (
    DevSettings,
    Settings,
    SettingsError,
    WorkerSettings,
    read_settings,
    unknown_variables,
    variables_of,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nothing is set."""
    for name, field in Settings.model_fields.items():
        for variable in variables_of(name, field):
            monkeypatch.delenv(variable, raising=False)
    return monkeypatch


def refusal(kind: type[Settings] = Settings, **given: object) -> str:
    """Return the words in which settings are refused."""
    with pytest.raises(SettingsError) as caught:
        read_settings(kind, given)
    return str(caught.value)


def test_without_anything_set_a_server_is_for_this_machine_alone() -> None:
    settings = read_settings(Settings, {})

    assert settings.bind == "127.0.0.1:50051"
    assert settings.config == Path("langgraph.json")
    assert settings.database_path == Path(".runwire/runwire.db")
    assert settings.is_loopback
    assert settings.reflects
    assert settings.max_request_bytes == 32 * 1024 * 1024
    assert settings.cancel_grace == timedelta(seconds=10)


def test_a_flag_stands_above_the_environment_and_that_above_the_default(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("RUNWIRE_MAX_ATTEMPTS", "5")
    environment.setenv("RUNWIRE_SYNC_NODES", "5")

    settings = read_settings(Settings, {"max_attempts": "7", "sync_nodes": None})

    assert settings.max_attempts == 7
    assert settings.sync_nodes == 5
    assert settings.runner_loops == 1


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:///./below/relative.db", "below/relative.db"),
        ("sqlite:////var/lib/absolute.db", "/var/lib/absolute.db"),
    ],
)
def test_the_database_is_a_file_relative_to_the_directory_or_absolute(url: str, path: str) -> None:
    assert read_settings(Settings, {"database_url": url}).database_path == Path(path)


def test_the_database_s_own_variable_stands_above_the_one_that_others_read_too(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("DATABASE_URL", "sqlite:///theirs.db")
    assert read_settings(Settings, {}).database_path == Path("theirs.db")

    environment.setenv("RUNWIRE_DATABASE_URL", "sqlite:///ours.db")
    assert read_settings(Settings, {}).database_path == Path("ours.db")


def test_an_empty_variable_is_as_good_as_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "")
    environment.setenv("RUNWIRE_BIND", "")

    settings = read_settings(Settings, {})

    assert settings.database_path == Path(".runwire/runwire.db")
    assert settings.bind == "127.0.0.1:50051"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:secret@db:5432/app?sslmode=require", "postgresql://user@db:5432/app"),
        ("postgres://user:secret@a,b/app", "postgresql://user@a,b/app"),
        ("postgresql://db/app?user=user&password=secret", "postgresql://user@db/app"),
        ("postgresql:///app", "postgresql://localhost/app"),
    ],
)
def test_postgresql_is_taken_and_shown_without_its_password(url: str, shown: str) -> None:
    settings = read_settings(Settings, {"database_url": url})
    assert settings.database_url == url
    assert settings.database_shown == shown


@pytest.mark.parametrize(
    "url", ["postgresql://user:secret%zz@db/app", "postgresql://user:secret@db:port/app?what=this"]
)
def test_postgresql_is_refused_without_telling_its_password(
    environment: pytest.MonkeyPatch, url: str
) -> None:
    environment.setenv("DATABASE_URL", url)

    words = refusal()

    assert "no URL that PostgreSQL's client library understands" in words
    assert "DATABASE_URL" in words
    assert "secret" not in words


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://host/db", "must begin with sqlite:/// or postgresql://, not with mysql://"),
        ("runwire.db", "must be a URL, such as sqlite:///runwire.db"),
        ("sqlite://", "the path of a file"),
        ("sqlite:///", "the path of a file"),
        ("sqlite:///a.db?mode=ro", "without parameters"),
        ("sqlite:///:memory:", "would lose every run"),
    ],
)
def test_what_is_no_database_is_refused(url: str, words: str) -> None:
    assert words in refusal(database_url=url)


def test_a_server_does_everything_unless_it_is_told_otherwise() -> None:
    settings = read_settings(Settings, {"max_concurrent_runs": "7"})

    assert (settings.takes_calls, settings.executes_runs, settings.slots) == (True, True, 7)


def test_a_worker_finds_a_port_beside_a_server_of_its_machine() -> None:
    url = "postgresql://user@host/database"
    server, worker = (
        read_settings(kind, {"database_url": url}) for kind in (Settings, WorkerSettings)
    )

    assert worker.is_loopback
    assert worker.bind != server.bind
    assert (worker.takes_calls, worker.executes_runs) == (False, True)


@pytest.mark.parametrize("kind", [Settings, WorkerSettings])
def test_a_file_s_only_process_cannot_be_several(kind: type[Settings]) -> None:
    assert "a SQLite file belongs to one process" in refusal(kind, processes="2")


@pytest.mark.parametrize(("kind", "given"), [(Settings, {"runner": False}), (WorkerSettings, {})])
def test_a_file_s_only_process_cannot_do_half_of_the_work(
    kind: type[Settings], given: dict[str, object]
) -> None:
    words = refusal(kind, **given)

    assert words.startswith("a SQLite file belongs to one process")
    assert "RUNWIRE_DATABASE_URL=postgresql://" in words


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "127.1.2.3:50051", "[::1]:50051", "localhost:1"])
def test_loopback_needs_no_flag(bind: str) -> None:
    assert read_settings(Settings, {"bind": bind}).is_loopback


@pytest.mark.parametrize("bind", ["0.0.0.0:50051", "[::]:50051", "10.0.0.1:1", "agents.local:1"])
def test_anything_but_loopback_needs_a_flag_that_says_what_it_does(bind: str) -> None:
    words = refusal(bind=bind)
    assert bind in words
    assert "--insecure" in words
    assert "TLS and authentication come in a later version" in words

    settings = read_settings(Settings, {"bind": bind, "insecure": True})
    assert not settings.is_loopback
    assert not settings.reflects
    assert read_settings(Settings, {"bind": bind, "insecure": True, "reflection": True}).reflects


@pytest.mark.parametrize(
    "bind", ["50051", "127.0.0.1", ":50051", "::1:50051", "127.0.0.1:x", "127.0.0.1:65536", "a:-1"]
)
def test_an_address_without_host_or_port_is_refused(bind: str) -> None:
    assert refusal(bind=bind).startswith("--bind (RUNWIRE_BIND): ")


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("10s", timedelta(seconds=10)),
        ("2.5", timedelta(seconds=2.5)),
        ("15m", timedelta(minutes=15)),
        ("24h", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("0s", timedelta(0)),
    ],
)
def test_durations_are_written_with_their_unit(text: str, duration: timedelta) -> None:
    assert read_settings(Settings, {"event_retention": text}).event_retention == duration


@pytest.mark.parametrize("text", ["soon", "-1s", "1 week", "1h30m", "٣s", "9" * 40, "1e9s"])
def test_other_durations_are_refused(text: str) -> None:
    assert refusal(event_retention=text) == (
        "--event-retention (RUNWIRE_EVENT_RETENTION): "
        'must be a duration, such as "500ms", "10s", "15m", "24h" or "7d"'
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_attempts": "0"}, "--max-attempts (RUNWIRE_MAX_ATTEMPTS): must be at least 1"),
        ({"runner_loops": "65"}, "--runner-loops (RUNWIRE_RUNNER_LOOPS): must be at most 64"),
        ({"sync_nodes": "1.5"}, "--sync-nodes (RUNWIRE_SYNC_NODES): must be a whole number"),
        ({"sync_nodes": "many"}, "--sync-nodes (RUNWIRE_SYNC_NODES): must be a whole number"),
        (
            {"log_level": "loud"},
            "--log-level (RUNWIRE_LOG_LEVEL): must be one of 'debug', 'info', 'warning' or 'error'",
        ),
        (
            {"drain_grace": "2d"},
            "--drain-grace (RUNWIRE_DRAIN_GRACE): must be from 0ms to 24h",
        ),
        (
            {"heartbeat_interval": "0s"},
            "--heartbeat-interval (RUNWIRE_HEARTBEAT_INTERVAL): must be from 10ms to 1h",
        ),
        (
            {"max_request_bytes": "lots"},
            "--max-request-bytes (RUNWIRE_MAX_REQUEST_BYTES): must be a size, such as 32MiB",
        ),
        (
            {"lease": "3s", "beat_interval": "1.1s"},
            "--beat-interval 1100ms leaves too little time to renew a --lease of 3s: it may be a "
            "third of it at most, so that one renewal can fail",
        ),
        ({"colour": "green"}, "colour: is not a setting"),
    ],
)
def test_a_refusal_names_the_flag_the_variable_and_the_limit(
    given: dict[str, object], words: str
) -> None:
    assert refusal(**given) == words


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 4.5),
        ({"lease": "5s"}, 1.5),
        ({"lease": "2s", "beat_interval": "500ms"}, 0.5),
        ({"lease": "9s", "beat_interval": "3s"}, 1.5),
        ({"lease": "1m", "beat_interval": "1s"}, 8),
    ],
)
def test_a_dead_connection_is_noticed_in_time_for_another_one_to_renew_the_lease(
    given: dict[str, object], seconds: float
) -> None:
    settings = read_settings(Settings, given)
    assert settings.silence == timedelta(seconds=seconds)
    assert settings.beat + 2 * settings.silence <= settings.lease - settings.beat


def test_a_lease_is_renewed_five_times_in_it_unless_something_else_is_said() -> None:
    assert read_settings(Settings, {"lease": "2s"}).beat == timedelta(seconds=0.4)
    given = {"lease": "2s", "beat_interval": "500ms"}
    assert read_settings(Settings, given).beat == timedelta(seconds=0.5)


def test_everything_that_is_wrong_is_said_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RUNWIRE_INSECURE", "perhaps")

    words = refusal(max_attempts="0").splitlines()

    assert sorted(words) == [
        "--insecure (RUNWIRE_INSECURE): must be true or false",
        "--max-attempts (RUNWIRE_MAX_ATTEMPTS): must be at least 1",
    ]


def test_langgraph_s_own_variable_sets_the_recursion_limit_too(
    environment: pytest.MonkeyPatch,
) -> None:
    assert read_settings(Settings, {}).recursion_limit == 10_007

    environment.setenv("LANGGRAPH_DEFAULT_RECURSION_LIMIT", "25")
    assert read_settings(Settings, {}).recursion_limit == 25

    environment.setenv("RUNWIRE_RECURSION_LIMIT", "50")
    assert read_settings(Settings, {}).recursion_limit == 50


def test_a_misspelt_variable_is_found() -> None:
    environment = {
        "RUNWIRE_MAX_ATTEMPS": "1",
        "RUNWIRE_MAX_ATTEMPTS": "1",
        "RUNWIRE_DATABASE_URL": "",
        "RUNWIRE_ADDRESS": "localhost:1",
        "PATH": "/bin",
    }
    assert unknown_variables(environment) == ["RUNWIRE_MAX_ATTEMPS"]


def test_every_setting_says_what_it_does() -> None:
    silent = [name for name, field in Settings.model_fields.items() if not field.description]
    assert silent == []


def test_flags_carry_settings_to_a_process_of_the_same_environment(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("DATABASE_URL", "sqlite:///secret.db")
    environment.setenv("RUNWIRE_DRAIN_GRACE", "9s")
    given: dict[str, object] = {
        "bind": "0.0.0.0:1",
        "insecure": True,
        "reflection": False,
        "cancel_grace": "1500ms",
        "config": "a b.json",
        "sync_nodes": None,
    }

    assert sorted(flags_of(read_settings(DevSettings, given), given)) == [
        "--bind=0.0.0.0:1",
        "--cancel-grace=1500ms",
        "--config=a b.json",
        "--insecure",
        "--log-format=pretty",
        "--no-reflection",
    ]


@pytest.mark.parametrize("key", ["X-User", "x user", "x-user-bin", "grpc-user"])
def test_who_calls_is_read_from_a_key_of_metadata_alone(key: str) -> None:
    assert "--principal-header" in refusal(principal_header=key)
    assert read_settings(Settings, {"principal_header": "x-user"}).principal_header == "x-user"


def test_a_limit_for_each_caller_needs_callers_to_be_known() -> None:
    assert "--principal-header" in refusal(max_runs_per_principal=3)
    given = {"max_runs_per_principal": 3, "principal_header": "x-user"}
    assert read_settings(Settings, given).max_runs_per_principal == 3


def test_webhooks_are_signed_with_one_secret_or_with_several(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("RUNWIRE_WEBHOOK_SECRET", f"{SECRET}, {OTHER_SECRET}")

    settings = read_settings(Settings, {})

    assert settings.webhook_secrets == (SECRET, OTHER_SECRET)
    assert SECRET not in repr(settings)
    assert "--webhook-secret" not in " ".join(flags_of(settings, {}))


@pytest.mark.parametrize("secret", ["hunter2", "whsec_!", "whsec_aHVudGVyMg==", f"{SECRET},x"])
def test_what_is_no_secret_is_refused_without_telling_it(
    environment: pytest.MonkeyPatch, secret: str
) -> None:
    environment.setenv("RUNWIRE_WEBHOOK_SECRET", secret)

    words = refusal()

    assert words == "RUNWIRE_WEBHOOK_SECRET: must be whsec_ and 24 to 64 bytes in base64"


@pytest.mark.parametrize("ports", ["0", "65536", "http", "1,-1"])
def test_a_webhook_s_ports_are_numbers(ports: str) -> None:
    assert "numbers from 1 to 65535" in refusal(webhook_allowed_ports=ports)
