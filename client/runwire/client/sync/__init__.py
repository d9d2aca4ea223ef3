"""The client for callers without an event loop.

    with get_sync_client("localhost:50051") as client:
        thread = client.threads.create()
        for part in client.runs.stream(thread["thread_id"], "chat", input={…}):
            print(part.event, part.data)

Everything here but the channel is made from the asynchronous client, so that both do the same.
"""

from runwire.client.sync.client import SyncRunwireClient, get_sync_client

__all__ = ["SyncRunwireClient", "get_sync_client"]
