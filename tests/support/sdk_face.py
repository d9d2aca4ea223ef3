"""Either face of the client, called in one way, with its results held against langgraph_sdk's
annotations."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, get_args, get_origin, get_type_hints

from langgraph_sdk import schema

from runwire.client import get_client, get_sync_client
from tests.support.sdk_surface import Found, methods_of, nouns_of, sdk_client
from tests.support.typed import misfits


class Face:
    """A client. `await face("threads.get", thread_id)` calls a method of either face; of a stream
    it gives a list of the first parts, `take` of them.

    `called` are the methods that were, `found` where results are not what langgraph_sdk says.
    """

    def __init__(self, name: str, client: Any) -> None:
        self._client = client
        self._theirs = nouns_of(sdk_client(name))
        self.called: set[str] = set()
        self.found: set[Found] = set()

    async def __call__(self, path: str, *args: Any, take: int | None = None, **given: Any) -> Any:
        noun, name = path.split(".")
        self.called.add(path)
        method = getattr(getattr(self._client, noun), name)
        if isinstance(self._client, _SYNC):
            result = await asyncio.to_thread(lambda: _listed(method(*args, **given), take))
        else:
            result = await _listed_async(method(*args, **given), take)
        theirs = methods_of(self._theirs[noun]).get(name) if noun in self._theirs else None
        if theirs is not None:
            said = eval(theirs.__annotations__["return"], theirs.__globals__)
            wanted = _INSTEAD.get(path, said)
            self.found |= {Found("result", place) for place in _misfits(result, wanted, path)}
        return result


_SYNC = type(get_sync_client())

_INSTEAD = {
    "crons.create": schema.Cron,
    "crons.create_for_thread": schema.Cron,
    "threads.copy": schema.Thread,
}
"""What methods give in place of what langgraph_sdk says that they give."""


def _misfits(result: Any, wanted: Any, path: str) -> Iterator[str]:
    if getattr(get_origin(wanted), "__name__", "") not in ("AsyncIterator", "Iterator"):
        yield from misfits(result, wanted, path)
        return
    for part in result:
        if isinstance(part, dict):
            kinds = [kind for kind in get_args(get_args(wanted)[0]) if not hasattr(kind, "_fields")]
            named = [k for k in kinds if part["type"] in get_args(get_type_hints(k)["type"])]
            if not named:
                yield path
            elif all(any(misfits(part, kind, path)) for kind in named):
                yield from misfits(part, named[0], path)
        elif part._fields[:3] != ("event", "data", "id"):
            yield path


def _listed(result: Any, take: int | None) -> Any:
    return list(islice(result, take)) if isinstance(result, Iterator) else result


async def _listed_async(result: Any, take: int | None) -> Any:
    if asyncio.iscoroutine(result):
        result = await result
    if not hasattr(result, "__aiter__"):
        return result
    parts = []
    async for part in result:
        parts.append(part)
        if len(parts) == take:
            break
    await result.aclose()
    return parts


@asynccontextmanager
async def face_on(name: str, address: str) -> AsyncIterator[Face]:
    """Give a face, "async" or "sync", of a client of the server at an address."""
    if name == "async":
        async with get_client(address) as client:
            yield Face(name, client)
    else:
        with get_sync_client(address) as sync_client:
            yield Face(name, sync_client)
