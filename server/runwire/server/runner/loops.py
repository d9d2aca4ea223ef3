"""The threads on which user code runs: event loops for runs, a pool for sync nodes."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

import uvloop

from runwire.server.model.attempts import Attempt, current_writer

_logger = logging.getLogger(__name__)

T = TypeVar("T")


CLOSE_SECONDS = 1.0
"""How long what is left on a loop may take to end when the loop is closed."""


class SyncNodes(ThreadPoolExecutor):
    """The pool for sync nodes: it knows which run each of its jobs belongs to.

    A thread cannot be stopped from outside, so a run whose task was cancelled may still have a
    node at work here; its thread's next run must not begin before that has ended.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, thread_name_prefix="sync-node")
        self._size = size
        self._guard = threading.Lock()
        self._jobs: dict[str, set[Future[Any]]] = {}
        self._left: set[str] = set()
        self._idle: dict[str, Callable[[], object]] = {}

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Submit a job for the run whose code calls."""
        job = super().submit(fn, *args, **kwargs)
        writer = current_writer.get()
        if isinstance(writer, Attempt):
            with self._guard:
                self._jobs.setdefault(writer.run_id, set()).add(job)
            job.add_done_callback(lambda done: self._ended(writer.run_id, done))
        return job

    def _ended(self, run_id: str, job: Future[Any]) -> None:
        with self._guard:
            jobs = self._jobs.get(run_id, set())
            jobs.discard(job)
            if jobs:
                return
            self._jobs.pop(run_id, None)
            self._left.discard(run_id)
            tell = self._idle.pop(run_id, None)
        if tell is not None:
            tell()

    async def idle(self, run_id: str, timeout: float) -> bool:
        """Return when no job of the run is left, or after `timeout` seconds; whether none is."""
        loop = asyncio.get_running_loop()
        idle = asyncio.Event()
        with self._guard:
            if run_id not in self._jobs:
                return True
            self._idle[run_id] = lambda: loop.call_soon_threadsafe(idle.set)
        try:
            async with asyncio.timeout(timeout):
                await idle.wait()
        except TimeoutError:
            self._warn_of_left(run_id)
            return False
        return True

    def _warn_of_left(self, run_id: str) -> None:
        with self._guard:
            self._left.add(run_id)
        _logger.warning(
            "sync nodes did not stop and keep their threads",
            extra={"run_id": run_id, "threads_kept": self.left, "threads": self._size},
        )

    @property
    def left(self) -> int:
        """How many threads are kept by nodes whose run no longer waits for them."""
        with self._guard:
            return sum(len(jobs) for run_id, jobs in self._jobs.items() if run_id in self._left)

    @property
    def is_exhausted(self) -> bool:
        """Whether every thread is kept so: no sync node can be executed any more."""
        return self.left >= self._size


WRITER = "runwire_writer"
"""The attribute of a runner loop's tasks that holds the writer they work for."""


def _make_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
    """Make a task that says for whom it works: the watchdog, on another thread, has no other way
    to tell in whose code a loop hangs."""
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    context: Context | None = options.get("context")
    writer = current_writer.get() if context is None else context.get(current_writer)
    setattr(task, WRITER, writer)
    return task


class RunnerLoop:
    """An event loop on a thread of its own, on which many runs take turns."""

    loop: asyncio.AbstractEventLoop
    """There from `open` on: a loop that is made and never turned would never be closed."""

    def __init__(self, sync_nodes: SyncNodes) -> None:
        self._sync_nodes = sync_nodes
        self.thread_id: int | None = None
        self._stopped = False
        self.runs = 0
        """Runs that are executed here now. gRPC loop only."""
        self.tasks: set[asyncio.Task[Any]] = set()
        """The tasks of those runs, kept because a loop only knows tasks weakly. This loop only."""

    def open(self) -> None:
        """Make the event loop; `turn` closes it."""
        # LangGraph wakes its loop for every piece that it streams, as if from another thread: with
        # asyncio's own loop each such wake is a system call that gives the interpreter away.
        self.loop = uvloop.new_event_loop()
        self.loop.set_task_factory(_make_task)
        self.loop.set_default_executor(self._sync_nodes)

    def turn(self) -> None:
        """Run the loop on the calling thread until it is stopped."""
        self.thread_id = threading.get_ident()
        asyncio.set_event_loop(self.loop)
        while not self._stopped:
            # A node that calls sys.exit() ends its run, and this loop's turning: asyncio lets
            # these exceptions through. The other runs here must go on.
            with suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()
        self._close()

    def _close(self) -> None:
        """Cancel what is left on the loop, give it a moment, and close the loop."""
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=CLOSE_SECONDS))
        with suppress(TimeoutError):
            ending = asyncio.wait_for(self.loop.shutdown_asyncgens(), CLOSE_SECONDS)
            self.loop.run_until_complete(ending)
        self.loop.close()

    def stop(self) -> None:
        """End the turning. From any thread."""
        self._stopped = True
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Await `function()` on this loop, from another one."""

        async def called() -> T:
            return await function()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(called(), self.loop))


class RunnerLoops:
    """The runner loops of this process, on a thread pool."""

    def __init__(self, *, loops: int, sync_nodes: int) -> None:
        self.sync_nodes = SyncNodes(sync_nodes)
        self.loops = [RunnerLoop(self.sync_nodes) for _ in range(loops)]
        self._threads = ThreadPoolExecutor(loops, thread_name_prefix="runner-loop")

    def start(self) -> None:
        """Start the threads."""
        for loop in self.loops:
            loop.open()
            self._threads.submit(loop.turn)

    def pick(self) -> RunnerLoop:
        """Return the loop with the fewest runs."""
        return min(self.loops, key=lambda loop: loop.runs)

    def stop(self) -> None:
        """Stop the loops. A node that does not end is left behind: threads cannot be stopped."""
        for loop in self.loops:
            loop.stop()
        self._threads.shutdown(wait=False)
        self.sync_nodes.shutdown(wait=False, cancel_futures=True)
