"""TLS and tokens: who is believed, and who is told what."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.scripted import (
    DRAINING,
    QUICK,
    RUN_ID,
    Context,
    ScriptedRuns,
    client_of,
    ended,
    serve,
    started,
)
from tests.support.tls import Identity, serve_by_tls

from runwire.client import Tls, UnavailableError, get_client, get_sync_client
from runwire.client.securing import stays_here
from runwire.v1 import core_pb2, runs_pb2

AT_ONCE = [("grpc.enable_retries", 0)]
"""Channel options with which a call that fails is not tried again."""

SERVER = Identity("localhost")
CALLER = Identity("caller")
STRANGER = Identity("localhost")


class Listening(ScriptedRuns):
    """Notes what it is told of its callers."""

    def __init__(self, *answers: Any) -> None:
        super().__init__([started(1), ended("1-2")])
        self.answers = [*answers, runs_pb2.GetRunResponse(run=core_pb2.Run(run_id=RUN_ID))]
        self.tokens: list[str] = []
        self.names: list[bytes] = []

    async def _answer(self, request: Any, context: Context) -> Any:
        self._note(context)
        return await super()._answer(request, context)

    async def _stream(self, start: int, context: Context, place: str = "") -> Any:
        self._note(context)
        async for response in super()._stream(start, context, place):
            yield response

    def _note(self, context: Context) -> None:
        sent = dict(context.invocation_metadata() or ())
        self.tokens.append(str(sent.get("authorization", "")))
        self.names += context.peer_identities() or ()

    GetRun = _answer


async def test_a_server_by_tls_is_believed_by_the_authority_that_is_given(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(SERVER.ca)
    async with serve_by_tls(Listening(), SERVER) as address:
        for url, ca in ((address, SERVER.ca), (f"https://{address}", file)):
            async with get_client(url, tls=Tls(ca=ca)) as client:
                assert (await client.runs.get(None, RUN_ID))["run_id"] == RUN_ID


async def test_both_sides_show_certificates() -> None:
    servicer = Listening()
    async with serve_by_tls(servicer, SERVER, callers=CALLER.ca) as address:
        tls = Tls(ca=SERVER.ca, cert=CALLER.cert, key=CALLER.key)
        async with get_client(address, tls=tls) as client:
            await client.runs.get(None, RUN_ID)
            async for _ in client.runs.stream(None, "chat"):
                pass

        def call() -> None:
            with get_sync_client(address, tls=tls) as client:
                client.runs.get(None, RUN_ID)

        await asyncio.to_thread(call)
    assert servicer.names == [b"caller"] * 3


async def test_a_server_is_called_by_another_name_than_its_certificate_has() -> None:
    elsewhere = Identity("agents.example")
    async with serve_by_tls(Listening(), elsewhere) as address:
        tls = Tls(ca=elsewhere.ca, server_name="agents.example")
        async with get_client(address, tls=tls) as client:
            await client.runs.get(None, RUN_ID)


@pytest.mark.parametrize(
    ("server", "callers", "tls", "told"),
    [
        (SERVER, None, Tls(ca=STRANGER.ca), r"is not trusted: see Tls\(ca=…\)"),
        (SERVER, None, Tls(), r"is not trusted: see Tls\(ca=…\)"),
        (CALLER, None, Tls(ca=CALLER.ca), r"for another name: see Tls\(server_name=…\)"),
        (SERVER, CALLER.ca, Tls(ca=SERVER.ca), "does it want a certificate of its callers"),
        (
            SERVER,
            CALLER.ca,
            Tls(ca=SERVER.ca, cert=STRANGER.cert, key=STRANGER.key),
            "does it want a certificate of its callers, .*, or another one",
        ),
        (SERVER, None, None, "if it wants TLS, call it with https://"),
    ],
    ids=["stranger", "unknown", "other name", "nobody", "other caller", "plain"],
)
async def test_what_is_wrong_with_a_certificate_is_said(
    server: Identity, callers: bytes | None, tls: Tls | None, told: str
) -> None:
    async with (
        serve_by_tls(Listening(), server, callers=callers) as address,
        get_client(address, tls=tls, options=AT_ONCE) as client,
    ):
        with pytest.raises(UnavailableError, match=told):
            await client.runs.get(None, RUN_ID)


async def test_tls_where_there_is_none_is_said() -> None:
    async with (
        serve(Listening()) as address,
        get_client(f"https://{address}", options=AT_ONCE) as client,
    ):
        with pytest.raises(UnavailableError, match="does not speak TLS"):
            await client.runs.get(None, RUN_ID)


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cert, key"):
        Tls(cert=CALLER.cert)
    with pytest.raises(ValueError, match="http://"):
        get_client("http://agents.example:1", tls=Tls())
    with pytest.raises(ValueError, match="tls, credentials"):
        get_client("agents.example:1", tls=Tls(), credentials=grpc.ssl_channel_credentials())
    with pytest.raises(ValueError, match="token, headers"):
        get_client(token="a", headers={"Authorization": "b"})
    with pytest.raises(FileNotFoundError, match=r"ca\.pem"):
        get_client("agents.example:1", tls=Tls(ca=tmp_path / "ca.pem"))


def test_a_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(Tls(cert=CALLER.cert, key=CALLER.key))


async def test_a_token_is_sent_with_every_call() -> None:
    servicer = Listening()
    async with client_of(servicer, token="from a file\n") as client:
        await client.runs.get(None, RUN_ID)
        await client.runs.get(None, RUN_ID, headers={"Authorization": "Basic mine"})
    assert servicer.tokens == ["Bearer from a file", "Basic mine"]


@pytest.mark.parametrize("is_asynchronous", [False, True])
async def test_each_call_has_a_fresh_token(is_asynchronous: bool) -> None:
    given = iter(range(10))

    def give() -> str:
        return f"number {next(given)}"

    async def give_later() -> str:
        await asyncio.sleep(0)
        return give()

    servicer = Listening()
    servicer.cuts = iter([2])
    async with client_of(servicer, token=give_later if is_asynchronous else give) as client:
        await client.runs.get(None, RUN_ID)
        parts = [part.event async for part in client.runs.stream(None, "chat")]
    assert parts == ["metadata", "end"]
    assert servicer.tokens == [f"Bearer number {number}" for number in range(3)]


async def test_who_waits_has_a_fresh_token_for_each_try() -> None:
    given = iter(range(10))
    answer = runs_pb2.JoinRunResponse(run=core_pb2.Run(run_id=RUN_ID))
    servicer = Listening(DRAINING, answer)
    servicer.JoinRun = servicer._answer  # type: ignore[method-assign]
    async with client_of(servicer, token=lambda: f"{next(given)}", reconnect=QUICK) as client:
        await client.runs.join(None, RUN_ID)
    assert servicer.tokens == ["Bearer 0", "Bearer 1"]


async def test_a_function_without_a_token_is_heard() -> None:
    def give() -> str:
        raise LookupError("nobody is logged in")

    async with client_of(Listening(), token=give) as client:
        with pytest.raises(LookupError, match="nobody is logged in"):
            await client.runs.get(None, RUN_ID)


@pytest.mark.parametrize("make", [get_client, get_sync_client])
def test_a_token_is_not_sent_where_anybody_could_read_it(make: Any) -> None:
    with pytest.raises(ValueError, match=r"anybody on the way to agents\.example:1 could read it"):
        make("agents.example:1", token="secret")
    make("https://agents.example:1", token="secret")
    make("agents.example:1", token="secret", tls=Tls())
    make("localhost:1", token="secret")
    make("agents.example:1", headers={"authorization": "Bearer a mesh encrypts"})


async def test_what_stays_on_this_machine_goes_to_no_proxy(monkeypatch: Any) -> None:
    servicer = Listening()
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("no_grpc_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with client_of(servicer, token="secret", options=AT_ONCE) as client:
        await client.runs.get(None, RUN_ID)
    assert servicer.tokens == ["Bearer secret"]


UNSENDABLE: Any = {
    "x-note": "a secret\nline",
    "x-name": "a secret é",
    "x-number": 7,
    "x name": "a secret",
    "x-note-bin": "a secret",
}


@pytest.mark.parametrize("name", UNSENDABLE)
@pytest.mark.parametrize("is_of_call", [False, True])
async def test_a_header_that_cannot_be_sent_is_named(name: str, is_of_call: bool) -> None:
    headers = {name: UNSENDABLE[name]}
    of_client, of_call = ({}, headers) if is_of_call else (headers, {})
    async with client_of(Listening(), headers=of_client) as client:
        with pytest.raises(ValueError, match=rf"headers\['{name}'\]") as raised:
            await client.runs.get(None, RUN_ID, headers=of_call)
        with pytest.raises(ValueError, match=rf"headers\['{name}'\]"):
            [part async for part in client.runs.stream(None, "chat", headers=of_call)]
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("token", ["a secret\nline", "a secret“"])
async def test_a_token_that_cannot_be_sent_is_not_told(token: str) -> None:
    async with client_of(Listening(), token=token) as client:
        with pytest.raises(ValueError, match=r"^token: ") as raised:
            await client.runs.get(None, RUN_ID)
    assert "secret" not in str(raised.value)
    with get_sync_client(token=token) as sync_client, pytest.raises(ValueError, match=r"^token: "):
        sync_client.runs.get(None, RUN_ID)


async def test_bytes_are_sent_in_headers_that_are_for_them() -> None:
    headers: Any = {"x-note-bin": b"\x00\n"}
    async with client_of(Listening(), headers=headers) as client:
        await client.runs.get(None, RUN_ID)


@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ("localhost:50051", True),
        ("localhost", True),
        ("127.0.0.1:1", True),
        ("127.1.2.3:1", True),
        ("[::1]:1", True),
        ("::1", True),
        ("unix:/run/runwire.sock", True),
        ("vsock:2:50051", False),
        ("dns:///localhost:1", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:1", True),
        ("ipv6:[::1]:1,[::1]:2", True),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("10.0.0.1:1", False),
        ("[2001:db8::1]:1", False),
        ("agents.example:1", False),
        ("dns:///agents.example:1", False),
        ("dns://127.0.0.1:53/agents.example:1", False),
        ("localhost.example:1", False),
        ("xds:///localhost", False),
    ],
)
def test_what_stays_on_this_machine_is_known(target: str, stays: bool) -> None:
    assert stays_here(target) is stays
