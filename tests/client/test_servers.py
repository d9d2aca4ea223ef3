"""The servers and the queue that they share, through a real server."""

from runwire.client import RunwireClient


async def test_a_server_says_what_it_is_and_allows(client: RunwireClient) -> None:
    info = await client.servers.get_info()

    assert info["server"] is not None
    assert info["servers"] == [info["server"]]
    assert info["graph_ids"] == info["server"]["graph_ids"]
    assert info["server"]["executes_runs"]
    assert info["limits"]["max_attempts"] == 3
    assert info["limits"]["cancel_grace"] == 10.0


async def test_the_queue_is_counted_for_all_and_for_each_graph(client: RunwireClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    for _ in range(2):
        await client.runs.create(thread_id, "slow_async", input={"seconds": 30})
    await client.runs.create(None, "echo", input={}, after_seconds=3600)
    stats = await client.servers.get_queue_stats()
    await client.runs.cancel_many(status="all")

    unfinished = [f"{state}_runs" for state in ("pending", "delayed", "running", "cancelling")]
    assert sum(stats[name] for name in unfinished) == 3  # type: ignore[literal-required]
    assert (stats["delayed_runs"], stats["claimable_runs"], stats["capped"]) == (1, 0, False)
    assert {graph["graph_id"] for graph in stats["graphs"]} == {"echo", "slow_async"}
    assert stats["oldest_claimable_seconds"] is None
    assert stats["oldest_pending_seconds"] is not None
