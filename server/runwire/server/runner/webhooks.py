"""The sender of webhooks: claims what is due, sends it, and says what came of it.

Every server has one, and they share the work by claiming it. A delivery is sent at least once: one
whose server died after it was sent, and before that was stored, is sent again, with the same id.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Self

from standardwebhooks import Webhook

from runwire.server.core.delivering import (
    Answer,
    claim,
    conclude,
    free_all,
    give_back,
    is_any_due,
)
from runwire.server.model.errors import DatabaseUnavailable, StorageFull
from runwire.server.model.faults import fault
from runwire.server.model.ids import new_id
from runwire.server.model.webhook_urls import UrlPolicy, problem_of_url
from runwire.server.model.webhooks import Delivery, DeliveryState
from runwire.server.runner.posting import Poster, Resolve
from runwire.server.storage.database import Database

_logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often the sender looks by itself; jittered by a fifth."""

HOST_SHARE = 4
"""How many receivers it takes to keep a sender busy: one alone gets a part of its attempts, so that
one that hangs does not hold up the others."""

STOP_SECONDS = 5.0
"""How long attempts that are under way are waited for when the server stops."""

GIVE_BACK_SECONDS = 2.0
"""How long the database may take to note what is broken off then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderOptions:
    """How webhooks are sent; see the settings of the same names, most with `webhook_` before them.

    Each request is signed with all of `secrets`, the first first, and carries `headers`.
    """

    policy: UrlPolicy = field(default_factory=UrlPolicy)
    secrets: Sequence[str] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: timedelta = timedelta(seconds=20)
    max_attempts: int = 10
    retry_wait: timedelta = timedelta(seconds=5)
    concurrency: int = 32
    drain_grace: timedelta = timedelta(seconds=30)

    @property
    def lease(self) -> timedelta:
        """How long after its begin an attempt is taken for lost."""
        return 2 * self.timeout


class WebhookSender:
    """Sends as long as it is entered, unless webhooks are disabled. `async with` it."""

    def __init__(
        self, database: Database, options: SenderOptions, *, resolve: Resolve | None = None
    ) -> None:
        """`resolve` is for tests: what is asked for the addresses of hosts."""
        self.sender_id = new_id()
        self._database = database
        self._options = options
        self._signers = [Webhook(secret) for secret in options.secrets]
        self._resolve = resolve
        self._poster: Poster | None = None
        self._attempts: dict[asyncio.Task[None], Delivery] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._options.policy.disabled:
            return self
        if not self._database.shared:
            await self._database.write(free_all)
        self._poster = Poster(
            self._options.policy,
            seconds=self._options.timeout.total_seconds(),
            connections=self._options.concurrency,
            resolve=self._resolve,
        )
        self._task = asyncio.create_task(self._send_for_ever(), name="webhooks")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.drain()
        if self._poster is not None:
            await self._poster.close()

    def wake(self) -> None:
        """Look soon for what is to be sent."""
        self._woken.set()

    # ------------------------------------------------------------------ claims

    async def _send_for_ever(self) -> None:
        is_away = False
        while True:
            self._woken.clear()
            try:
                await self._send_due()
                is_away = False
            except (DatabaseUnavailable, StorageFull):
                if not is_away:
                    _logger.warning("the sender of webhooks cannot write to the database")
                is_away = True
            except Exception:
                _logger.exception("the sender of webhooks failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS * random.uniform(0.8, 1.2)):
                    await self._woken.wait()

    async def _send_due(self) -> None:
        """Begin as many attempts as there is room for."""
        share = max(1, self._options.concurrency // HOST_SHARE)
        while (room := self._options.concurrency - len(self._attempts)) > 0:
            if not await self._database.read(is_any_due):
                return
            counts = Counter(delivery.host for delivery in self._attempts.values())
            busy_hosts = [host for host, count in counts.items() if count >= share]
            # Few at a time: those of one claim may all be for the same host.
            claimed = await self._claim(busy_hosts, min(room, share))
            if not claimed:
                return

    async def _claim(self, busy_hosts: Sequence[str], limit: int) -> list[Delivery]:
        # Not to be broken off between the commit and the first step of the attempts.
        claiming = asyncio.create_task(self._claim_and_begin(busy_hosts, limit))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait([claiming])
            raise

    async def _claim_and_begin(self, busy_hosts: Sequence[str], limit: int) -> list[Delivery]:
        claimed = await self._database.write(
            partial(
                claim,
                sender=self.sender_id,
                busy_hosts=busy_hosts,
                limit=limit,
                lease=self._options.lease,
            )
        )
        fault("send.after_commit")
        for delivery in claimed:
            attempt = asyncio.create_task(
                self._attempt(delivery), name=f"webhook {delivery.delivery_id}"
            )
            self._attempts[attempt] = delivery
            attempt.add_done_callback(self._ended)
        return claimed

    def _ended(self, attempt: "asyncio.Task[None]") -> None:
        del self._attempts[attempt]
        self.wake()
        if not attempt.cancelled() and attempt.exception() is not None:
            _logger.error("a webhook's attempt failed", exc_info=attempt.exception())

    # ------------------------------------------------------------------ attempts

    async def _attempt(self, delivery: Delivery) -> None:
        extra = {"delivery_id": delivery.delivery_id, "run_id": delivery.run_id}
        try:
            answer = await self._send(delivery)
        except Exception:
            # It counts all the same: what is never concluded would be sent for ever.
            _logger.exception("a webhook could not be sent", extra=extra)
            answer = Answer(error="internal error; the log has it under the delivery's id")
        try:
            state = await self._conclude(delivery, answer)
        except (DatabaseUnavailable, StorageFull):
            # Nobody knows what came of it, so it is made again when it is taken for lost.
            _logger.warning("what came of a webhook could not be stored", extra=extra)
            return
        fault("deliver.after_commit")
        _log(delivery, answer, state)

    async def _conclude(self, delivery: Delivery, answer: Answer) -> DeliveryState | None:
        options = self._options
        return await self._database.write(
            lambda connection: conclude(
                connection,
                delivery,
                answer,
                max_attempts=options.max_attempts,
                first_wait=options.retry_wait,
            )
        )

    async def _send(self, delivery: Delivery) -> Answer:
        # What was allowed when the run was created need not be any more, or not here.
        if problem := problem_of_url(delivery.url, self._options.policy):
            return Answer(error=f"the URL {problem}", final=True)
        assert self._poster is not None
        return await self._poster.post(
            delivery.url, self._headers(delivery), delivery.body.encode()
        )

    def _headers(self, delivery: Delivery) -> list[tuple[str, str]]:
        assert delivery.attempt_time is not None
        moment = delivery.attempt_time
        own = {
            "content-type": "application/json",
            "user-agent": "runwire",
            "webhook-id": delivery.delivery_id,
            "webhook-timestamp": str(int(moment.timestamp())),
        }
        if self._signers:
            own["webhook-signature"] = " ".join(
                signer.sign(delivery.delivery_id, moment, delivery.body) for signer in self._signers
            )
        others = {name.lower(): value for name, value in self._options.headers.items()}
        return [*{**others, **own}.items()]

    # ------------------------------------------------------------------ the end

    async def drain(self) -> None:
        """Begin no more attempts, and wait for those under way; what does not end is left to
        others, at once."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._attempts:
            return
        seconds = min(STOP_SECONDS, self._options.drain_grace.total_seconds())
        _, left = await asyncio.wait(self._attempts, timeout=seconds)
        broken = [self._attempts[attempt] for attempt in left]
        for attempt in left:
            attempt.cancel()
        if left:
            await asyncio.wait(left)
        with suppress(TimeoutError, DatabaseUnavailable, StorageFull):
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                for delivery in broken:
                    await self._database.write(partial(give_back, delivery=delivery))


def _log(delivery: Delivery, answer: Answer, state: DeliveryState | None) -> None:
    """Log what came of an attempt. Without the URL, which may hold a secret."""
    extra = {
        "delivery_id": delivery.delivery_id,
        "run_id": delivery.run_id,
        "host": delivery.host,
        "attempt": delivery.attempts,
        "status": answer.status,
    }
    if state is None:
        _logger.warning("a webhook's attempt was taken for lost", extra=extra)
    elif state is DeliveryState.DELIVERED:
        _logger.info("a webhook was delivered", extra=extra)
    else:
        words = "given up" if state is DeliveryState.DEAD else "not delivered yet"
        _logger.warning("a webhook was %s", words, extra={**extra, "error": answer.error})
