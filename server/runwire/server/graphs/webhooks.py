"""The part `webhooks` of `langgraph.json`: which URLs are called, and with which headers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ENV_PREFIX = "LG_WEBHOOK_"
"""How the variables that headers may hold begin, unless `env_prefix` says otherwise: not any
variable of the server is for receivers."""

USED = ("env_prefix", "headers", "url")
URL_USED = (
    "allowed_domains",
    "allowed_ports",
    "disable_loopback",
    "disable_private_ips",
    "max_url_length",
    "require_https",
)

LONGEST_URL = 65_536

_TEMPLATE = re.compile(r"\$\{\{(.*?)\}\}")
_VARIABLE = re.compile(r"\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~]*")
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksConfig:
    """What the file says; None and empty: nothing. `headers` are templates."""

    require_https: bool | None = None
    allowed_domains: tuple[str, ...] = ()
    allowed_ports: tuple[int, ...] = ()
    max_url_length: int | None = None
    allow_loopback: bool | None = None
    allow_private: bool | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def read_webhooks(part: dict[str, Any], url: dict[str, Any]) -> WebhooksConfig:
    """Return what the file says of webhooks; `url` is its part of that name. Raises ValueError, its
    message begins with the key."""
    return WebhooksConfig(
        require_https=_flag(url, "require_https"),
        allowed_domains=tuple(_list(url, "allowed_domains", str, "names")),
        allowed_ports=tuple(_list(url, "allowed_ports", int, "numbers")),
        max_url_length=_length(url),
        allow_loopback=_inverse(_flag(url, "disable_loopback")),
        allow_private=_inverse(_flag(url, "disable_private_ips")),
        headers=_headers(part),
    )


def fill_headers(headers: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return headers with the variables that their templates name. Raises ValueError for one that
    is not set, or whose value no header can hold."""

    def value_of(match: re.Match[str]) -> str:
        name = match[1].strip().removeprefix("env.")
        if name not in environment:
            raise ValueError(f"webhooks.headers: the environment has no variable {name}")
        if not _VALUE.fullmatch(environment[name]):
            raise ValueError(f"webhooks.headers: the variable {name} holds what no header can")
        return environment[name]

    return {name: _TEMPLATE.sub(value_of, template) for name, template in headers.items()}


def _headers(part: dict[str, Any]) -> dict[str, str]:
    headers = part.get("headers", {})
    prefix = part.get("env_prefix", ENV_PREFIX)
    if not isinstance(prefix, str):
        raise ValueError("webhooks.env_prefix: must be a string")
    if not isinstance(headers, dict):
        raise ValueError("webhooks.headers: must be an object")
    for name, template in headers.items():
        _check_header(name, template, prefix)
    return headers


def _check_header(name: str, template: Any, prefix: str) -> None:
    key = f"webhooks.headers.{name}"
    if not _HEADER.fullmatch(name) or name.lower() in _OURS or name.lower().startswith("webhook-"):
        raise ValueError(f"{key}: cannot be a header of its own")
    if not isinstance(template, str) or not _VALUE.fullmatch(template):
        raise ValueError(f"{key}: must be a string of printable ASCII characters")
    for inner in _TEMPLATE.findall(template):
        variable = _VARIABLE.fullmatch(inner)
        if variable is None:
            raise ValueError(f"{key}: ${{{{{inner}}}}} is not ${{{{ env.NAME }}}}")
        if not variable[1].startswith(prefix):
            raise ValueError(
                f"{key}: {variable[1]} does not begin with {prefix}, as env_prefix says"
            )


def _flag(url: dict[str, Any], key: str) -> bool | None:
    value = url.get(key)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"webhooks.url.{key}: must be true or false")
    return value


def _inverse(flag: bool | None) -> bool | None:
    return None if flag is None else not flag


def _list(url: dict[str, Any], key: str, kind: type, words: str) -> list[Any]:
    value = url.get(key, [])
    right = isinstance(value, list) and all(
        isinstance(item, kind) and not isinstance(item, bool) for item in value
    )
    if not right:
        raise ValueError(f"webhooks.url.{key}: must be a list of {words}")
    return list(value)


def _length(url: dict[str, Any]) -> int | None:
    value = url.get("max_url_length")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LONGEST_URL:
        raise ValueError(f"webhooks.url.max_url_length: must be a number from 1 to {LONGEST_URL}")
    return value
