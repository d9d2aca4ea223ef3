"""The main job in one terminal: `make demo` runs this.

It starts a server with the example agents on a database of its own, streams a run, resumes an
interrupted one, cancels a third, and stops the server. Any surprise ends it with exit code 1.
"""

import asyncio
import os
import socket
import sys
import time
from asyncio.subprocess import STDOUT, Process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import grpc

from runwire.client import get_client

CONFIG = Path(__file__).with_name("langgraph.json")
START_SECONDS = 60
STOP_SECONDS = 30


class Surprise(Exception):
    """Something went differently from what the demo is there to show."""


def expect(fact: bool, surprise: str) -> None:
    """Raise `Surprise` unless the fact holds."""
    if not fact:
        raise Surprise(surprise)


def title(text: str) -> None:
    """Print the heading of a part of the demo."""
    print(f"\n── {text} {'─' * (74 - len(text))}")


def chat_input(text: str) -> dict[str, Any]:
    """Return what the chat agent takes: one message from a person."""
    return {"messages": [{"role": "user", "content": text}]}


def token_of(part: Any) -> str:
    """Return the model's text in one part of a stream, or nothing if it is another kind of part."""
    if part.event != "messages":
        return ""
    message, _metadata = part.data
    return str(message["content"]) if message["type"] == "AIMessageChunk" else ""


async def start_server(directory: str, log: IO[str]) -> tuple[Process, str]:
    """Start a server and return it with its address, once it answers.

    Raises Surprise if it exits instead, TimeoutError if it does neither within START_SECONDS.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = {key: value for key, value in os.environ.items() if not key.startswith("RUNWIRE_")}
    settings["DATABASE_URL"] = f"sqlite:///{directory}/demo.db"
    command = ["-m", "runwire.server", "serve", "--config", str(CONFIG), "--bind", address]
    server = await asyncio.create_subprocess_exec(
        sys.executable, *command, env=settings, stdout=log, stderr=STDOUT
    )
    try:
        await wait_until_ready(server, address)
    except BaseException:
        await stop_at_once(server)
        raise
    return server, address


async def wait_until_ready(server: Process, address: str) -> None:
    """Return once the server takes connections: it opens its port when everything is loaded."""
    async with grpc.aio.insecure_channel(address) as channel:
        exited = asyncio.create_task(server.wait(), name="server exited")
        ready = asyncio.create_task(channel.channel_ready(), name="server ready")
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.wait({exited, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            exited.cancel()
            ready.cancel()
            await asyncio.wait({exited, ready})
    expect(server.returncode is None, f"the server exited with {server.returncode}")


async def stop_at_once(server: Process) -> None:
    """Kill a server that is still running when the demo is over, for whatever reason."""
    if server.returncode is None:
        server.kill()
        await server.wait()


async def stream_a_run(client: Any) -> None:
    """Show a run's answer while the model is still writing it."""
    thread_id = (await client.threads.create())["thread_id"]
    question = "What is 6 * 7, and how is the weather in Paris?"
    print(f"you   {question}\nagent ", end="", flush=True)
    tokens = []
    parts = client.runs.stream(
        thread_id,
        "chat",
        input=chat_input(question),
        context={"model": "fake", "token_delay": 0.05},
        stream_mode="messages-tuple",
    )
    async for part in parts:
        if token := token_of(part):
            tokens.append(token)
            print(token, end="", flush=True)
    print(f"\n      ({len(tokens)} tokens, each of them shown when it was made)")
    answer = "I looked it up. 6 * 7 = 42. The weather in Paris is sunny, 24 °C."
    expect("".join(tokens) == answer, f"the streamed answer should have been: {answer}")
    expect(len(tokens) > 10, "the answer should have come token by token")


async def resume_an_interrupt(client: Any) -> None:
    """Show a run that pauses for a person, and another that carries the answer back to it."""
    thread_id = (await client.threads.create())["thread_id"]
    request = {"customer": "Ada", "amount": 40, "reason": "the parcel was lost"}
    paused = await client.runs.wait(thread_id, "approval", input=request)
    interrupts = paused.get("__interrupt__", [])
    expect(len(interrupts) == 1, f"one question should be open, not {len(interrupts)}")
    print(f"agent {interrupts[0]['value']['question']}   (the run has paused and is stored)")
    thread = await client.threads.get(thread_id)
    expect(thread["status"] == "interrupted", f"the thread is {thread['status']}")
    print("you   yes")
    decision = {"approved": True, "note": "Sorry about that."}
    outcome = await client.runs.wait(thread_id, "approval", command={"resume": decision})
    print(f"agent {outcome['status']}: {outcome['message']}")
    expect(outcome["status"] == "refunded", "the refund should have been made")


async def cancel_a_run(client: Any) -> None:
    """Show a background run that is followed, and stopped in the middle of its answer."""
    thread_id = (await client.threads.create())["thread_id"]
    question = "Could you tell me a very long story about a river?"
    run = await client.runs.create(
        thread_id,
        "chat",
        input=chat_input(question),
        context={"model": "fake", "token_delay": 0.2},
        stream_mode="messages-tuple",
    )
    print(f"you   {question}\nagent ", end="", flush=True)
    tokens = 0
    async for part in client.runs.join_stream(thread_id, run["run_id"]):
        if not (token := token_of(part)):
            continue
        tokens += 1
        if tokens <= 8:
            print(token, end="", flush=True)
        if tokens == 8:
            started = time.perf_counter()
            await client.runs.cancel(thread_id, run["run_id"], wait=True)
            took = time.perf_counter() - started
            print(f"…\nyou   stop!   (cancelled in {took * 1000:.0f} ms)")
    expect(8 <= tokens < 12, f"the stream should have ended after 8 tokens or so, not {tokens}")
    state = (await client.runs.get(thread_id, run["run_id"]))["state"]
    print(f"      the run is {state}")
    expect(state == "cancelled", "the run should have been cancelled")


async def stop_server(server: Process, address: str) -> None:
    """Ask the server to stop, and show that it is gone."""
    server.terminate()
    async with asyncio.timeout(STOP_SECONDS):
        code = await server.wait()
    expect(code == 0, f"the server exited with {code}")
    host, _, port = address.partition(":")
    try:
        await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        print(f"it exited with 0, and nothing listens on {address} any more")
    else:
        raise Surprise(f"something still listens on {address}")


async def show(directory: str, log: IO[str]) -> None:
    """Run all parts of the demo, one after the other."""
    title("A server")
    server, address = await start_server(directory, log)
    try:
        print(f"runwire serves {CONFIG.parent.name}/{CONFIG.name} on {address}")
        async with get_client(address) as client:
            title("A run, streamed token by token")
            await stream_a_run(client)
            title("An interrupt, resumed")
            await resume_an_interrupt(client)
            title("A run, cancelled")
            await cancel_a_run(client)
        title("The server, stopped by SIGTERM")
        await stop_server(server, address)
    finally:
        await stop_at_once(server)


def main() -> None:
    """Run the demo; if it fails, show what the server said."""
    with TemporaryDirectory(prefix="runwire-demo-") as directory:
        log_file = Path(directory) / "server.log"
        with log_file.open("w", encoding="utf-8") as log:
            try:
                asyncio.run(show(directory, log))
            except Exception:
                print(f"\n\nThe server's last words:\n{log_file.read_text('utf-8')[-4000:]}")
                raise


if __name__ == "__main__":
    main()
