"""What an operator can set. Only this module reads the environment.

A setting is a field of `Settings`, and nothing else has to be written down for it: its environment
variable is its name with RUNWIRE_ before it, and the command line makes its flag, and its line in
`--help`, from the field. A flag stands above the environment, and that above the default.
"""

import base64
import os
import re
from collections.abc import Mapping, MutableMapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AliasChoices,
    ByteSize,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from runwire.server.durations import Grace, Interval, Retention, format_duration
from runwire.server.model.faults import parse_faults
from runwire.server.storage.addresses import SQLITE, check_address, path_of, shown

ENV_PREFIX = "RUNWIRE_"

SEAT_VARIABLE = "RUNWIRE_SEAT"
"""What a supervisor says to each of its servers; see `Seat`."""

BEATS_IN_A_LEASE = 3
"""A server stops a beat before its lease ends, and one renewal may fail before that."""

LONGEST_SILENCE = timedelta(seconds=8)
"""How long a connection to the database may be dead until that is noticed, however long a lease."""

NOT_SETTINGS = frozenset(
    {
        "RUNWIRE_ADDRESS",
        "RUNWIRE_CLIENT_CA",
        "RUNWIRE_CLIENT_CERT",
        "RUNWIRE_CLIENT_KEY",
        "RUNWIRE_TOKEN",
        SEAT_VARIABLE,
    }
)
"""Variables with the prefix that no operator sets, or that belong to the commands which call a
server."""

DEFAULT_BIND = "127.0.0.1:50051"

SECRET_PREFIX = "whsec_"
"""What a secret of Standard Webhooks begins with."""

_METADATA_KEY = re.compile(r"(?!grpc-)[0-9a-z_.-]+(?<!-bin)")


class SettingsError(Exception):
    """Settings that no server can start with: a line for each, naming flag and variable."""


class Settings(BaseSettings):
    """Everything that can be set, checked. Raises pydantic's ValidationError; `read_settings`
    puts that into words."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # a database's URL may hold a password
        populate_by_name=True,
    )

    no_options: ClassVar[frozenset[str]] = frozenset({"webhook_secret"})
    """Settings that are no options of the command, because they would mean nothing to it, or be
    seen by whoever lists the machine's processes."""

    config: Path = Field(
        default=Path("langgraph.json"),
        description="The file that names the graphs.",
    )
    bind: str = Field(
        default=DEFAULT_BIND,
        description="Host and port to listen on; port 0 takes any that is free.",
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Server processes that share the port, for cores beyond the first. What is "
        "set counts for each of them. Needs PostgreSQL.",
    )
    insecure: bool = Field(
        default=False,
        description="Listen beyond this machine although nothing is encrypted and nobody is asked "
        "who they are. Only behind something that does both.",
    )
    principal_header: str = Field(
        default="",
        description="The request metadata that says who a call is from, such as x-user-id. Only "
        "behind something that sets it on every call, and lets no caller set it.",
    )
    reflection: bool | None = Field(
        default=None,
        description="Tell callers which services there are. By default only on this machine.",
    )
    max_request_bytes: ByteSize = Field(
        default=ByteSize(32 * 1024 * 1024),
        ge=64 * 1024,
        le=1024 * 1024 * 1024,
        description="The largest request that is taken, such as 32MiB.",
    )
    max_concurrent_calls: int = Field(
        default=2000,
        ge=1,
        le=1_000_000,
        description="Calls that may be open at the same time, streams too; further ones are "
        "refused.",
    )
    heartbeat_interval: Interval = Field(
        default=timedelta(seconds=15),
        description="How long a stream may be silent before it says that it lives.",
    )
    database_url: str = Field(
        default=f"{SQLITE}.runwire/runwire.db",
        validation_alias=AliasChoices("RUNWIRE_DATABASE_URL", "DATABASE_URL"),
        description="The database: sqlite:///relative.db or sqlite:////absolute.db for a file that "
        "one server has, or postgresql://user:password@host/database, which servers may share.",
    )
    sqlite_full_sync: bool = Field(
        default=False,
        description="Lose no commit in a power cut; slower. A crash of the server loses none "
        "either way.",
    )
    event_retention: Retention = Field(
        default=timedelta(hours=24),
        description="How long the events of a run on a thread are kept after its end. The run "
        "stays with its thread.",
    )
    stateless_run_retention: Retention = Field(
        default=timedelta(hours=24),
        description="How long a run without a thread is kept after its end, with its events.",
    )
    rolled_back_run_retention: Retention = Field(
        default=timedelta(hours=24),
        description="How long it is known that a run was taken back, and how its stream ended.",
    )
    request_retention: Retention = Field(
        default=timedelta(hours=24),
        description="How long a repeated request_id is known for what it was.",
    )
    server_retention: Retention = Field(
        default=timedelta(hours=1),
        description="How long a server that is gone can still be asked about.",
    )
    thread_ttl: Retention | None = Field(
        default=None,
        description="How long a new thread is kept when nothing happens on it, unless its caller "
        "says otherwise; 0s: for ever. Without it what checkpointer.ttl of the configuration file "
        "says, or for ever.",
    )
    thread_ttl_strategy: Literal["delete", "keep_latest"] | None = Field(
        default=None,
        description="What becomes of such a thread: it is deleted, or its history is and its "
        "state kept. Without it what checkpointer.ttl says, or delete.",
    )
    retention_interval: Interval | None = Field(
        default=None,
        description="How often what has passed its retention is taken, more or less: that much "
        "longer it may be there. Without it what checkpointer.ttl says, or 60s.",
    )
    runner: bool = Field(
        default=True,
        description="Execute runs. A server without a runner answers calls and leaves what it "
        "accepts to others on the same database, such as those of runwire worker.",
    )
    max_concurrent_runs: int = Field(
        default=512,
        ge=1,
        le=100_000,
        description="Runs that execute at the same time.",
    )
    max_pending_runs: int = Field(
        default=100_000,
        ge=1,
        description="Runs that may wait; further ones are refused.",
    )
    max_runs_per_assistant: int = Field(
        default=0,
        ge=0,
        description="Runs of one assistant that may be there and have not ended, on all servers "
        "together; further ones are refused. 0: no limit.",
    )
    max_runs_per_principal: int = Field(
        default=0,
        ge=0,
        description="The same for the runs of one caller, as --principal-header names them.",
    )
    runner_loops: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Event loops that execute runs. More than one only for graphs that share no "
        "asynchronous client between runs.",
    )
    sync_nodes: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Threads for nodes that are not async.",
    )
    recursion_limit: int = Field(
        default=10_007,
        ge=1,
        validation_alias=AliasChoices(
            "RUNWIRE_RECURSION_LIMIT", "LANGGRAPH_DEFAULT_RECURSION_LIMIT"
        ),
        description="Supersteps that a run may take, unless its config says otherwise. The default "
        "is LangGraph's own.",
    )
    cancel_grace: Grace = Field(
        default=timedelta(seconds=10),
        description="How long a cancelled run's code is waited for before it is left behind.",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=100,
        description="How often a run is begun, at most, when servers die under it. Of several at "
        "this limit only the one that began last fails.",
    )
    lease: Interval = Field(
        default=timedelta(seconds=15),
        description="How long a server that shares its database is waited for before others take "
        "its runs.",
    )
    beat_interval: Interval | None = Field(
        default=None,
        description="How often a server renews its lease: at least three times in it. By default "
        "a fifth of it.",
    )
    sweep_interval: Interval = Field(
        default=timedelta(seconds=1),
        description="How often a server looks for runs that nobody executes.",
    )
    drain_grace: Grace = Field(
        default=timedelta(seconds=30),
        description="How long a server that is told to stop waits for its runs to reach a place "
        "where another server can go on.",
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="What webhooks are signed with: whsec_ and 24 to 64 bytes in base64. Several, "
        "separated by commas, while one replaces another: each request then has a signature of "
        "each.",
    )
    webhook_unsigned: bool = Field(
        default=False,
        description="Send webhooks although there is no secret for them, which is read from the "
        "environment alone (RUNWIRE_WEBHOOK_SECRET): their receivers cannot tell who sent them.",
    )
    webhook_require_https: bool | None = Field(
        default=None,
        description="Take no webhook whose URL begins with http://. Without it what webhooks.url "
        "of the configuration file says, or on.",
    )
    webhook_allowed_domains: str = Field(
        default="",
        description="The hosts that webhooks may name, separated by commas; *.example.com is all "
        "below it. Without it what webhooks.url says, or any on the internet.",
    )
    webhook_allowed_ports: str = Field(
        default="",
        description="The ports that webhooks may name, separated by commas. Without it what "
        "webhooks.url says, or any.",
    )
    webhook_loopback: bool | None = Field(
        default=None,
        description="Let webhooks call this machine itself. Without it what webhooks.url says, or "
        "off.",
    )
    webhook_private: bool | None = Field(
        default=None,
        description="Let webhooks call addresses of private networks. Without it what "
        "webhooks.url says, or off.",
    )
    webhook_timeout: Interval = Field(
        default=timedelta(seconds=20),
        description="How long a webhook's receiver may take to answer.",
    )
    webhook_max_attempts: int = Field(
        default=10,
        ge=1,
        le=100,
        description="How often a webhook is sent, at most, to a receiver that does not take it. "
        "Ten take about a day.",
    )
    webhook_retry_wait: Interval = Field(
        default=timedelta(seconds=5),
        description="How long to wait after the first attempt of a webhook that failed; each "
        "further wait is four times as long, up to eight hours.",
    )
    webhook_concurrency: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="Webhooks that are sent at the same time; to one host a part of them.",
    )
    webhook_retention: Retention = Field(
        default=timedelta(days=7),
        description="How long a webhook is kept after it was delivered or given up.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is logged."
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        default="auto",
        description="How log lines look; auto is pretty on a terminal and JSON elsewhere.",
    )
    faults: str = Field(
        default="",
        description="For tests: what is to go wrong in this server, and where, such as "
        "create.after_commit:kill:0.1; see docs/reliability.md.",
    )

    @field_validator("faults")
    @classmethod
    def _check_faults(cls, value: str) -> str:
        parse_faults(value)
        return value

    @field_validator("principal_header")
    @classmethod
    def _check_principal_header(cls, value: str) -> str:
        if value and not _METADATA_KEY.fullmatch(value):
            raise ValueError(
                f"{value!r} is no key of request metadata for texts: it has small letters, digits, "
                "-, _ and . alone, ends otherwise than in -bin, and does not begin with grpc-"
            )
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _check_webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        for secret in _items(value.get_secret_value() if value else ""):
            _check_secret(secret)
        return value

    @field_validator("webhook_allowed_ports")
    @classmethod
    def _check_webhook_ports(cls, value: str) -> str:
        for port in _items(value):
            if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
                raise ValueError("must be numbers from 1 to 65535, separated by commas")
        return value

    @field_validator("bind")
    @classmethod
    def _check_bind(cls, value: str) -> str:
        split_address(value)
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        check_address(value)
        return value

    @model_validator(mode="after")
    def _refuse_leases_that_end_by_themselves(self) -> Self:
        if self.beat * BEATS_IN_A_LEASE > self.lease:
            raise ValueError(
                f"--beat-interval {format_duration(self.beat)} leaves too little time to renew a "
                f"--lease of {format_duration(self.lease)}: it may be a third of it at most, so "
                "that one renewal can fail"
            )
        return self

    @model_validator(mode="after")
    def _refuse_open_doors(self) -> Self:
        if not self.is_loopback and not self.insecure:
            raise ValueError(
                f"--bind {self.bind} would let other machines in, in the clear and without asking "
                "who they are (TLS and authentication come in a later version). Bind to 127.0.0.1, "
                "or say --insecure if something in front of this server does both"
            )
        return self

    @model_validator(mode="after")
    def _refuse_limits_of_nobody(self) -> Self:
        if self.max_runs_per_principal and not self.principal_header:
            raise ValueError(
                "--max-runs-per-principal limits nobody as long as --principal-header does not say "
                "where it stands who a call is from"
            )
        return self

    @model_validator(mode="after")
    def _refuse_lonely_roles(self) -> Self:
        if self.is_embedded and not (self.takes_calls and self.executes_runs):
            raise ValueError(
                "a SQLite file belongs to one process, which must both answer calls and execute "
                "runs: runwire serve without --no-runner. Processes with one role each share a "
                f"PostgreSQL database: {ENV_PREFIX}DATABASE_URL=postgresql://…"
            )
        if self.is_embedded and self.processes > 1:
            raise ValueError(
                "a SQLite file belongs to one process, which cannot be several: --processes needs "
                f"a PostgreSQL database: {ENV_PREFIX}DATABASE_URL=postgresql://…"
            )
        return self

    @property
    def takes_calls(self) -> bool:
        """Whether the server answers anything but health."""
        return True

    @property
    def executes_runs(self) -> bool:
        """Whether runs execute on the server."""
        return self.runner

    @property
    def slots(self) -> int:
        """How many runs may execute on the server at the same time."""
        return self.max_concurrent_runs if self.executes_runs else 0

    @property
    def is_embedded(self) -> bool:
        """Whether the database is a file that no other server can have meanwhile."""
        return self.database_url.startswith(SQLITE)

    @property
    def beat(self) -> timedelta:
        """How often a server renews its lease."""
        return self.lease / 5 if self.beat_interval is None else self.beat_interval

    @property
    def silence(self) -> timedelta:
        """How long a connection to the database may be dead until that is noticed. A renewal that
        finds it dead begins a beat after the last one, and the server stops a beat before its lease
        ends: of the time between, half is left for another connection."""
        return min(LONGEST_SILENCE, (self.lease - 2 * self.beat) / 2)

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that webhooks are signed with."""
        secret = self.webhook_secret
        return _items(secret.get_secret_value() if secret else "")

    @property
    def webhook_domains(self) -> tuple[str, ...]:
        """The hosts that webhooks may name; empty: nothing is set."""
        return _items(self.webhook_allowed_domains)

    @property
    def webhook_ports(self) -> tuple[int, ...]:
        """The ports that webhooks may name; empty: nothing is set."""
        return tuple(map(int, _items(self.webhook_allowed_ports)))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address bound to."""
        host = split_address(self.bind)[0]
        if host == "localhost":
            return True
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return False  # a name may mean anything

    @property
    def reflects(self) -> bool:
        """Whether callers may ask which services there are."""
        return self.is_loopback if self.reflection is None else self.reflection

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return path_of(self.database_url)

    @property
    def database_shown(self) -> str:
        """The database as an operator may see it, without a password."""
        return shown(self.database_url)


class DevSettings(Settings):
    """Settings of `runwire dev`: the same, with other defaults."""

    drain_grace: Grace = Field(
        default=timedelta(seconds=3), description=Settings.model_fields["drain_grace"].description
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        default="pretty", description=Settings.model_fields["log_format"].description
    )


class WorkerSettings(Settings):
    """Settings of `runwire worker`, which executes runs and answers nothing but health. What is
    set for answering calls, because servers share the environment, means nothing to it."""

    no_options = Settings.no_options | {
        "runner",
        "max_request_bytes",
        "max_concurrent_calls",
        "heartbeat_interval",
    }

    bind: str = Field(
        default="127.0.0.1:50052",  # beside a server of this machine
        description="Host and port to answer health on; port 0 takes any that is free.",
    )

    @property
    def takes_calls(self) -> bool:
        """Whether the server answers anything but health."""
        return False

    @property
    def executes_runs(self) -> bool:
        """Whether runs execute on the server."""
        return True


class MigrateSettings(Settings):
    """Settings of `runwire migrate`: which database."""

    no_options = frozenset(Settings.model_fields) - {"database_url"}


AnySettings = TypeVar("AnySettings", bound=Settings)


def _items(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))


def _check_secret(secret: str) -> None:
    """Raise ValueError, which does not tell it, for what is no secret of Standard Webhooks."""
    beginning, encoded = secret[: len(SECRET_PREFIX)], secret[len(SECRET_PREFIX) :]
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if beginning != SECRET_PREFIX or not 24 <= len(key) <= 64:
        raise ValueError(f"must be {SECRET_PREFIX} and 24 to 64 bytes in base64")


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of "host:port", an IPv6 host without its brackets.

    Raises ValueError.
    """
    host, separator, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not separator or not host or (":" in host and not bracketed):
        raise ValueError('must be a host and a port, such as "127.0.0.1:50051" or "[::1]:50051"')
    if not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError("the port must be a number from 0 to 65535")
    return host.removeprefix("[").removesuffix("]"), int(port)


def reachable_address(bind: str, port: int) -> str:
    """Return where this machine reaches a server that is bound to `bind` and got `port`."""
    host = bind.rpartition(":")[0]
    everywhere = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
    return f"{everywhere.get(host, host)}:{port}"


def read_settings(kind: type[AnySettings], given: Mapping[str, object]) -> AnySettings:
    """Return the settings: `given` where it is not None, then the environment, then defaults.

    Raises `SettingsError`.
    """
    flags: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        return kind(**flags)
    except ValidationError as error:
        lines = [_sentence(detail) for detail in error.errors(include_url=False)]
        raise SettingsError("\n".join(lines)) from None


def take_seat(environment: MutableMapping[str, str] = os.environ) -> str | None:
    """Return what this process's supervisor said to it, if it has one; what this process starts
    itself does not see it."""
    return environment.pop(SEAT_VARIABLE, None)


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the variables that look like settings and are none: probably misspelt."""
    known = {
        name
        for field_name, field in Settings.model_fields.items()
        for name in variables_of(field_name, field)
    }
    ours = {name for name in environment if name.upper().startswith(ENV_PREFIX)}
    return sorted(name for name in ours if name.upper() not in known | NOT_SETTINGS)


def variables_of(name: str, field: FieldInfo) -> list[str]:
    """Return the environment variables of a setting, the one that counts more first."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [ENV_PREFIX + name.upper()]


def flag_of(name: str) -> str:
    """Return the command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def _sentence(detail: ErrorDetails) -> str:
    place = str(detail["loc"][0]) if detail["loc"] else ""
    context: Mapping[str, Any] = detail.get("ctx") or {}
    match detail["type"]:
        case "value_error":
            problem = str(context["error"])
        case "greater_than_equal":
            problem = f"must be at least {context['ge']}"
        case "less_than_equal":
            problem = f"must be at most {context['le']}"
        case "int_parsing" | "int_type" | "int_from_float":
            problem = "must be a whole number"
        case "bool_parsing" | "bool_type":
            problem = "must be true or false"
        case "byte_size" | "byte_size_unit":
            problem = "must be a size, such as 32MiB"
        case "literal_error":
            problem = f"must be one of {context['expected']}"
        case "extra_forbidden":
            problem = "is not a setting"
        case _:
            problem = detail["msg"]
    return f"{_written(place)}: {problem}" if place else problem


def _written(place: str) -> str:
    """Return how an operator writes a setting: its flag and its variable."""
    for name, field in Settings.model_fields.items():
        variables = variables_of(name, field)
        if (place == name or place in variables) and name in Settings.no_options:
            return variables[0]
        if place == name or place in variables:
            return f"{flag_of(name)} ({variables[0]})"
    return place
