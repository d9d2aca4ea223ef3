"""Which URLs a server calls when runs have ended. Callers choose them, so that without rules any
caller could have the server reach what only the server can."""

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import SplitResult, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}

_PRINTABLE = re.compile(r"[!-~]+")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

_LOCAL_NAMES = ("internal", "lan", "local", "localdomain", "home.arpa", "cluster.local")

Address = IPv4Address | IPv6Address


def _networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


_LOOPBACK = _networks("127.0.0.0/8", "::1/128")
_PRIVATE = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
_INTERNET = _networks("0.0.0.0/0", "2000::/3")
"""All that has ever been given out to be reached from everywhere; the rest of IPv6 is for other
uses, such as IPv4 in one more disguise."""

_NEVER = _networks(
    "100.100.100.200/32",  # where clouds answer machines about themselves
    "168.63.129.16/32",
    "169.254.0.0/16",
    "fd00:ec2::254/128",
    "64:ff9b::/96",  # IPv4 in disguise
    "64:ff9b:1::/48",
    "2001::/32",
    "2002::/16",
    "192.88.99.0/24",
    "224.0.0.0/4",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlPolicy:
    """What a webhook's URL may be. `disabled` says why none may; `allowed_domains` are names, and
    patterns such as "*.example.com" for all names below one; they and `allowed_ports` do not narrow
    if empty."""

    disabled: str = ""
    require_https: bool = True
    allowed_domains: tuple[str, ...] = ()
    allowed_ports: tuple[int, ...] = ()
    max_url_length: int = 2048
    allow_loopback: bool = False
    allow_private: bool = False


def problem_of_url(url: str, policy: UrlPolicy) -> str:
    """Return what is wrong with a URL, by what can be seen of it alone; empty if nothing is. What
    its host's name stands for is another matter: `problem_of_address`."""
    if policy.disabled:
        return policy.disabled
    if len(url) > policy.max_url_length:
        return f"has {len(url)} characters, at most {policy.max_url_length} are taken"
    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        return "is not a URL of printable ASCII characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        return "must begin with https:// or http:// and a host"
    if policy.require_https and parts.scheme != "https":
        return "must begin with https://"
    if "@" in parts.netloc:
        return "must not hold a user or a password"
    if "#" in url:
        return "must not hold a fragment"
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    if port == 0 or (policy.allowed_ports and port not in policy.allowed_ports):
        return f"names port {port}, which this server does not call"
    return _problem_of_host(parts, policy)


def _problem_of_host(parts: SplitResult, policy: UrlPolicy) -> str:
    host = host_of(parts)
    if policy.allowed_domains and not any(
        _is_in_domain(host, domain) for domain in policy.allowed_domains
    ):
        return f"names the host {host}, which this server does not call"
    if "[" in parts.netloc or _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            address = ip_address(host)
        except ValueError:
            return "names a host that is neither a name nor an address in its usual form"
        return problem_of_address(address, policy)
    if len(host) > 253 or not _NAME.fullmatch(host):
        return "names a host that is neither a name nor an address in its usual form"
    if host == "localhost" or host.endswith(".localhost"):
        return "" if policy.allow_loopback else "names this server's own machine"
    is_local = "." not in host or any(host.endswith(f".{name}") for name in _LOCAL_NAMES)
    if is_local and not (policy.allow_private or policy.allowed_domains):
        return f"names the host {host}, which is not one of the internet"
    return ""


def host_of(parts: SplitResult) -> str:
    """Return a URL's host in lower case, without the dot that may end a name."""
    return (parts.hostname or "").lower().removesuffix(".")


def _is_in_domain(host: str, domain: str) -> bool:
    domain = domain.lower().removesuffix(".")
    if domain.startswith("*."):
        return host.endswith(domain[1:])
    return host == domain


def problem_of_address(address: Address, policy: UrlPolicy) -> str:
    """Return why a server does not connect to an address; empty if it does."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and address.packed[:12] == bytes(12) and int(address) > 1:
            inner = IPv4Address(address.packed[12:])
        if inner is not None:
            return problem_of_address(inner, policy)
    if _is_in(address, _NEVER):
        return f"leads to {address}, which this server never calls"
    if _is_in(address, _LOOPBACK):
        return "" if policy.allow_loopback else f"leads to {address}, this server's own machine"
    if _is_in(address, _PRIVATE):
        return (
            "" if policy.allow_private else f"leads to {address}, an address of a private network"
        )
    is_reachable = address.is_global and _is_in(address, _INTERNET)
    return "" if is_reachable else f"leads to {address}, which this server never calls"


def _is_in(address: Address, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def shown_url(url: str) -> str:
    """Return a URL as it may be shown: a query may hold a secret."""
    base, separator, _ = url.partition("?")
    return f"{base}?…" if separator else base
