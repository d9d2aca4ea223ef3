"""One request to an address that a caller chose."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from tests.support.receivers import (
    Receiver,
    Reply,
    addresses,
    answering,
    dripping,
    dying,
    hanging,
    receiving,
)

from runwire.server.core.delivering import LONGEST_ASKED, Answer
from runwire.server.model.webhook_urls import UrlPolicy
from runwire.server.runner import posting
from runwire.server.runner.posting import ANSWER_BYTES, Poster, Resolve

LOCAL = UrlPolicy(require_https=False, allow_loopback=True)
STRICT = UrlPolicy(require_https=False)


@asynccontextmanager
async def posters(
    policy: UrlPolicy = LOCAL, *, seconds: float = 5, resolve: Resolve | None = None
) -> AsyncIterator[Poster]:
    poster = Poster(policy, seconds=seconds, connections=4, resolve=resolve)
    try:
        yield poster
    finally:
        await poster.close()


async def post(receiver: Receiver, url: str = "", **options: object) -> Answer:
    async with posters(**options) as poster:  # type: ignore[arg-type]
        return await poster.post(url or receiver.url, [("webhook-id", "1")], b"{}")


async def answer_to(*replies: Reply, **options: object) -> Answer:
    async with receiving(*replies) as receiver:
        return await post(receiver, **options)


async def test_a_request_arrives_as_it_was_sent() -> None:
    async with receiving(answering(204)) as receiver:
        answer = await post(receiver, f"{receiver.url}?token=1")
        (request,) = receiver.received
    assert answer == Answer(204)
    assert answer.is_delivered
    assert (request.path, request.body) == ("/hook?token=1", b"{}")
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["webhook-id"] == "1"


async def test_a_connection_is_used_again() -> None:
    async with receiving() as receiver, posters() as poster:
        for _ in range(3):
            assert (await poster.post(receiver.url, [], b"")).is_delivered
        assert len(receiver.received) == 3


@pytest.mark.parametrize("status", [400, 404, 500, 502])
async def test_an_answer_that_is_no_success_is_told_and_may_be_one_later(status: int) -> None:
    answer = await answer_to(answering(status))
    assert answer == Answer(status, f"the receiver answered {status}")
    assert not answer.is_delivered


async def test_gone_is_for_good() -> None:
    assert (await answer_to(answering(410))).final


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with receiving() as other:
        answer = await answer_to(answering(status, location=other.url))
        assert other.received == []
    assert answer.status == status
    assert "redirects are not followed" in answer.error
    assert not answer.final


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        ("7", timedelta(seconds=7)),
        ("9" * 4000, LONGEST_ASKED),
        ("-1", timedelta(0)),
        ("soon", timedelta(0)),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", timedelta(0)),
        ("Mon, 01 Jan 2030 00:00:00 +99999999999999", timedelta(0)),
        (format_datetime(datetime(2000, 1, 1, tzinfo=UTC)), timedelta(0)),
        (format_datetime(datetime(2999, 1, 1, tzinfo=UTC)), LONGEST_ASKED),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_s_wait_is_kept_within_reason(
    status: int, asked: str, wait: timedelta
) -> None:
    assert (await answer_to(answering(status, retry_after=asked))).retry_after == wait


async def test_only_who_is_busy_can_ask_for_a_wait() -> None:
    assert (await answer_to(answering(500, retry_after="7"))).retry_after == timedelta(0)


async def test_who_hangs_is_left_in_time() -> None:
    answer = await answer_to(hanging, seconds=0.2)
    assert answer == Answer(error="no answer within 0.2 seconds")


async def test_who_answers_byte_by_byte_is_left_in_time() -> None:
    answer = await answer_to(dripping(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1000), seconds=0.3)
    assert answer == Answer(error="no answer within 0.3 seconds")


async def test_a_success_counts_though_the_rest_of_the_answer_never_ends() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"
    answer = await answer_to(dripping(head), seconds=1)
    assert answer == Answer(200)


async def test_of_a_large_answer_no_more_than_a_part_is_read() -> None:
    written = 0

    async def pour(request: object, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    async with asyncio.timeout(60):
        assert (await answer_to(pour, seconds=600)).is_delivered
    assert written < 200 * ANSWER_BYTES


async def test_headers_without_end_are_an_error() -> None:
    assert not (await answer_to(dripping_fast(), seconds=10)).is_delivered


def dripping_fast() -> Reply:
    async def reply(request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"x: " + b"y" * 60_000 + b"\r\n")
            await writer.drain()

    return reply


async def test_who_dies_in_the_middle_has_not_answered() -> None:
    answer = await answer_to(dying)
    assert answer.status is None
    assert answer.error.startswith("the receiver cannot be reached: ")


async def test_who_does_not_listen_is_not_reached() -> None:
    async with receiving() as receiver:
        url = receiver.url
    assert "cannot be reached" in (await post(Receiver(), url)).error


async def test_a_name_that_means_nothing_is_not_reached() -> None:
    async def fail(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    answer = await post(Receiver(), "http://nowhere.example/", resolve=fail)
    assert "Name or service not known" in answer.error
    assert not answer.final


async def test_a_lookup_that_hangs_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "CONNECT_SECONDS", 0.1)

    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    answer = await post(Receiver(), "http://slow.example/", resolve=hang)
    assert answer == Answer(error="no connection within 0.1 seconds")


@pytest.mark.parametrize(
    "found",
    [
        ("127.0.0.1",),
        ("93.184.215.14", "127.0.0.1"),
        ("169.254.169.254",),
        ("10.0.0.1",),
        ("::1",),
        ("::ffff:127.0.0.1",),
        ("fe80::1%eth0",),
    ],
)
async def test_a_name_that_leads_to_an_address_of_ours_is_refused_for_good(
    found: tuple[str, ...],
) -> None:
    async with receiving() as receiver:
        url = f"http://innocent.example:{receiver.port}/"
        answer = await post(receiver, url, policy=STRICT, resolve=addresses(*found))
        assert receiver.received == []
    assert answer.final
    assert answer.error.startswith("innocent.example leads to ")


async def test_the_address_that_was_looked_at_is_the_one_that_is_called() -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])

    async def rebind(host: str, port: int) -> Sequence[str]:
        return next(answers)

    async with receiving() as receiver, posters(LOCAL, resolve=rebind) as poster:
        url = f"http://rebinding.example:{receiver.port}/"
        assert (await poster.post(url, [], b"")) == Answer(200)
        assert receiver.received[0].headers["host"] == f"rebinding.example:{receiver.port}"
    # It was looked up once: a second time would have given another address.
    assert next(answers) == ["169.254.169.254"]


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with receiving() as receiver:
        url = f"http://two.example:{receiver.port}/"
        answer = await post(receiver, url, resolve=addresses("127.0.0.2", "127.0.0.1"))
    assert answer == Answer(200)


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert (await post(receiver)).is_delivered
        assert proxy.received == []


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of receiver.example, signed by itself, with its key in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not there to make a certificate")
    path = tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=receiver.example"),
            *("-addext", "subjectAltName=DNS:receiver.example"),
            *("-keyout", str(path), "-out", str(tmp_path / "only.pem")),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes((tmp_path / "only.pem").read_bytes() + path.read_bytes())
    return path


async def test_a_certificate_must_be_of_the_host_that_the_url_names(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    resolve = addresses("127.0.0.1")
    async with receiving(tls=tls) as receiver:
        named = f"https://receiver.example:{receiver.port}/"
        unknown = await post(receiver, named, resolve=resolve)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        another = await post(receiver, f"https://other.example:{receiver.port}/", resolve=resolve)
        assert receiver.received == []
        assert await post(receiver, named, resolve=resolve) == Answer(200)
    assert "certificate" in unknown.error
    assert "other.example" in another.error
