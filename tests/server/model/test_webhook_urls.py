"""Which URLs a server calls because a caller says so."""

from ipaddress import ip_address

import pytest

from runwire.server.model.webhook_urls import (
    UrlPolicy,
    problem_of_address,
    problem_of_url,
    shown_url,
)

DEFAULT = UrlPolicy()
OPEN = UrlPolicy(require_https=False, allow_loopback=True, allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/hook?token=secret",
        "HTTPS://Example.COM./a%20b",
        "https://93.184.215.14/hook",
        "https://[2606:4700::1111]/hook",
        "https://xn--bcher-kva.example/",
    ],
)
def test_what_is_on_the_internet_is_called(url: str) -> None:
    assert problem_of_url(url, DEFAULT) == ""


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://0/",
        "https://0.0.0.0/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://1.2.3/",
        "https://256.1.1.1/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::127.0.0.1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[::ffff:7f00:1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fd00:ec2::254]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://localhost/",
        "https://localhost./",
        "https://a.localhost/",
        "https://LOCALHOST:8443/",
        "https://kubernetes/",
        "https://api.default.svc.cluster.local/",
        "https://metadata.google.internal/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.100.100.200/",
        "https://100.64.0.1/",
        "https://168.63.129.16/",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://172.31.0.1/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
    ],
)
def test_what_only_the_server_reaches_is_not(url: str) -> None:
    assert problem_of_url(url, DEFAULT)


@pytest.mark.parametrize(
    "url",
    [
        "/hook",
        "//example.com/hook",
        "example.com/hook",
        "https:///hook",
        "https://",
        "https:example.com",
        "file:///etc/passwd",
        "gopher://example.com/",
        "unix:///run/docker.sock",
        "http+unix://%2Frun%2Fdocker.sock/",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://a@127.0.0.1/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/#fragment",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:port/",
        "https://exa mple.com/",
        "https://example.com/\r\nX-Header: 1",
        "https://127。0。0。1/",
        "https://bücher.example/",
        "https://[::1/",
        "https://exam%70le.com/",
        f"https://{'a' * 64}.example/",
        f"https://example.com/{'a' * 2048}",
    ],
)
def test_what_is_no_plain_url_is_refused_whatever_is_allowed(url: str) -> None:
    assert problem_of_url(url, OPEN)


def test_http_is_refused_unless_it_is_allowed() -> None:
    url = "http://example.com/"
    assert problem_of_url(url, DEFAULT) == "must begin with https://"
    assert problem_of_url(url, UrlPolicy(require_https=False)) == ""


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("https://example.com/", True),
        ("https://EXAMPLE.com./", True),
        ("https://a.hooks.example.com/", True),
        ("https://hooks.example.com/", False),
        ("https://example.com.evil.test/", False),
        ("https://ahooks.example.com/", False),
        ("https://93.184.215.14/", False),
        ("https://example.com:8443/", False),
    ],
)
def test_hosts_and_ports_can_be_narrowed(url: str, is_allowed: bool) -> None:
    domains = ("example.com", "*.hooks.example.com")
    policy = UrlPolicy(allowed_domains=domains, allowed_ports=(443,))
    assert (problem_of_url(url, policy) == "") is is_allowed


def test_loopback_and_private_networks_can_be_allowed_each_alone() -> None:
    loopback, private = UrlPolicy(allow_loopback=True), UrlPolicy(allow_private=True)
    assert problem_of_url("https://localhost:1/", loopback) == ""
    assert problem_of_url("https://[::1]/", loopback) == ""
    assert problem_of_url("https://10.0.0.1/", loopback)
    assert problem_of_url("https://10.0.0.1/", private) == ""
    assert problem_of_url("https://receiver/", private) == ""
    assert problem_of_url("https://127.0.0.1/", private)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "::ffff:0:169.254.169.254",
        "fd00:ec2::254",
        "0.0.0.0",
        "fe80::1",
        "5f00::1",
    ],
)
def test_some_addresses_are_never_called(address: str) -> None:
    assert problem_of_address(ip_address(address), OPEN)


def test_without_webhooks_every_url_is_refused_for_that_reason() -> None:
    assert problem_of_url("https://example.com", UrlPolicy(disabled="no secret")) == "no secret"


def test_a_url_is_shown_without_its_query() -> None:
    assert shown_url("https://example.com/a?token=1") == "https://example.com/a?…"
    assert shown_url("https://example.com/a") == "https://example.com/a"
