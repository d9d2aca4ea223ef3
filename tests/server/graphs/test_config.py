"""Reading `langgraph.json`."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.server.graphs.conftest import WriteConfig

from runwire.server.graphs.config import ConfigError, GraphEntry, apply_env, read_config
from runwire.server.model.items import StoreIndex, StoreTtl
from runwire.server.model.threads import PruneStrategy, ThreadTtl

ONE = {"chat": "./chat.py:graph"}


def test_a_graph_is_named_by_file_and_attribute(write_config: WriteConfig) -> None:
    config = write_config({"graphs": {"chat": "./agents/chat.py:graph"}})

    assert config.graphs["chat"] == GraphEntry(
        graph_id="chat", source="./agents/chat.py", attribute="graph"
    )
    assert config.graphs["chat"].is_file


def test_a_graph_is_named_by_module_and_attribute(write_config: WriteConfig) -> None:
    config = write_config({"graphs": {"chat": "company.agents.chat:make"}})

    assert config.graphs["chat"].source == "company.agents.chat"
    assert not config.graphs["chat"].is_file


def test_a_graph_may_have_a_description(write_config: WriteConfig) -> None:
    config = write_config(
        {"graphs": {"chat": {"path": "./chat.py:graph", "description": "Talks."}}}
    )

    assert config.graphs["chat"].description == "Talks."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ('{"graphs": {}, "graphs": {}}', "'graphs' is there twice"),
        ("[]", "must hold a JSON object"),
        ("{}", "graphs: must name at least one graph"),
        ({"graphs": {}}, "graphs: must name at least one graph"),
        ({"graphs": ["chat"]}, "graphs: must name at least one graph"),
        ({"graphs": {"chat": 5}}, "graphs.chat: must be"),
        ({"graphs": {"chat": {"description": "x"}}}, "graphs.chat: must be"),
        ({"graphs": {"chat": "./chat.py"}}, "graphs.chat: './chat.py' must be"),
        ({"graphs": {"chat": ":graph"}}, "graphs.chat: ':graph' must be"),
        ({"graphs": {"chat": "./chat.py:not a name"}}, "graphs.chat: './chat.py:not a name'"),
        ({"graphs": {"chat": "./chat.ts:graph"}}, "graphs.chat: ./chat.ts is not Python"),
        ({"graphs": {"": "./chat.py:graph"}}, "1 to 128 characters"),
        ({"graphs": {"x" * 129: "./chat.py:graph"}}, "1 to 128 characters"),
        ({"graphs": {"a\nb": "./chat.py:graph"}}, "no control characters"),
        (
            {"graphs": {"6F1c4c1e-52f7-5b0a-9a55-3d1f7a2f1d0e": "./chat.py:graph"}},
            "must not look like an assistant's",
        ),
        ({"graphs": {"chat": {"path": "./c.py:g", "description": 5}}}, "chat.description"),
        ({"graphs": ONE, "env": 5}, "env: must be"),
        ({"graphs": ONE, "env": {"A": None}}, "env.A: must be a string"),
        ({"graphs": ONE, "env": {"A=B": "x"}}, "env.A=B: cannot be"),
        ({"graphs": ONE, "dependencies": "."}, "dependencies: must be a list"),
        ({"graphs": ONE, "dependencies": ["./missing"]}, "there is no directory ./missing"),
    ],
)
def test_a_mistake_is_told_by_file_and_key(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "langgraph.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))

    with pytest.raises(ConfigError) as caught:
        read_config(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ttl", "message"),
    [
        (5, "checkpointer.ttl: must be an object"),
        ({"strategy": "forget"}, "checkpointer.ttl.strategy: must be 'delete' or 'keep_latest'"),
        ({"default_ttl": "5"}, "checkpointer.ttl.default_ttl: must be a number of minutes"),
        ({"default_ttl": True}, "checkpointer.ttl.default_ttl: must be a number of minutes"),
        (
            {"default_ttl": 0},
            "checkpointer.ttl.default_ttl: must be more than 0 and at most 525600",
        ),
        ({"default_ttl": 1e9}, "checkpointer.ttl.default_ttl: must be more than 0 and at most"),
        ({"sweep_interval_minutes": -1}, "checkpointer.ttl.sweep_interval_minutes: must be more"),
    ],
)
def test_a_mistake_in_the_ttl_is_told(write_config: WriteConfig, ttl: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write_config({"graphs": ONE, "checkpointer": {"ttl": ttl}})


def test_threads_may_have_a_ttl(write_config: WriteConfig) -> None:
    ttl = {"strategy": "keep_latest", "default_ttl": 90, "sweep_interval_minutes": 0.5}
    config = write_config({"graphs": ONE, "checkpointer": {"ttl": ttl}})
    assert config.thread_ttl == ThreadTtl(timedelta(minutes=90), PruneStrategy.KEEP_LATEST)
    assert config.sweep_interval == timedelta(seconds=30)
    assert config.warnings == ()


def test_of_the_ttl_all_may_be_left_out(write_config: WriteConfig) -> None:
    for checkpointer in ({}, {"ttl": {}}, {"ttl": None}, {"ttl": {"strategy": "delete"}}):
        config = write_config({"graphs": ONE, "checkpointer": checkpointer})
        assert (config.thread_ttl, config.sweep_interval) == (None, None)


def test_what_is_not_used_of_the_checkpointer_is_warned_about(write_config: WriteConfig) -> None:
    checkpointer = {"backend": "mongo", "ttl": {"default_ttl": 5, "sweep_limit": 100}}
    config = write_config({"graphs": ONE, "checkpointer": checkpointer})
    assert config.thread_ttl == ThreadTtl(timedelta(minutes=5))
    assert config.warnings == (
        "langgraph.json: not used by Runwire: checkpointer.backend",
        "langgraph.json: not used by Runwire: checkpointer.ttl.sweep_limit",
    )


@pytest.mark.parametrize(
    ("ttl", "message"),
    [
        (5, "store.ttl: must be an object"),
        ({"default_ttl": "5"}, "store.ttl.default_ttl: must be a number of minutes"),
        ({"default_ttl": 0}, "store.ttl.default_ttl: must be more than 0 and at most 525600"),
        ({"refresh_on_read": "no"}, "store.ttl.refresh_on_read: must be true or false"),
        ({"sweep_interval_minutes": -1}, "store.ttl.sweep_interval_minutes: must be more than 0"),
    ],
)
def test_a_mistake_in_the_store_s_ttl_is_told(
    write_config: WriteConfig, ttl: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        write_config({"graphs": ONE, "store": {"ttl": ttl}})


def test_items_of_the_store_may_have_a_ttl(write_config: WriteConfig) -> None:
    ttl = {"default_ttl": 90, "refresh_on_read": False, "sweep_interval_minutes": 2, "odd": 1}
    config = write_config({"graphs": ONE, "store": {"ttl": ttl, "path": "./store.py:store"}})
    assert config.store_ttl == StoreTtl(timedelta(minutes=90), refresh_on_read=False)
    assert config.sweep_interval == timedelta(minutes=2)
    assert config.warnings == (
        "langgraph.json: not used by Runwire: store.path",
        "langgraph.json: not used by Runwire: store.ttl.odd",
    )
    for store in (None, {}, {"ttl": None}, {"ttl": {}}):
        config = write_config({"graphs": ONE, "store": store})
        assert (config.store_ttl, config.sweep_interval) == (StoreTtl(None, True), None)


def test_the_store_may_have_an_index(write_config: WriteConfig) -> None:
    index = {"dims": 1536, "embed": "openai:text-embedding-3-small", "fields": ["text"], "odd": 1}
    config = write_config({"graphs": ONE, "store": {"index": index}})
    assert config.store_index == StoreIndex(
        dims=1536, embed="openai:text-embedding-3-small", fields=("text",)
    )
    assert config.warnings == ("langgraph.json: not used by Runwire: store.index.odd",)
    plain = write_config({"graphs": ONE, "store": {"index": {"dims": 1, "embed": "./a.py:b"}}})
    assert plain.store_index == StoreIndex(dims=1, embed="./a.py:b", fields=("$",))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (5, "store.index: must be an object"),
        ({"dims": 0}, "store.index.dims: must be a number from 1 to 16000"),
        ({"dims": True}, "store.index.dims: must be a number"),
        ({"dims": "5"}, "store.index.dims: must be a number"),
        ({"embed": None}, "store.index.embed: must be"),
        ({"embed": "openai"}, 'store.index.embed: must be "file.py:function" or'),
        ({"fields": "text"}, "store.index.fields: must be a list of paths"),
        ({"fields": [""]}, "store.index.fields: must be a list of paths"),
        ({"fields": ["a" * 401]}, f"store.index.fields: '{'a' * 64}' has 401 bytes"),
    ],
)
def test_a_mistake_in_the_index_is_told(
    write_config: WriteConfig, index: Any, message: str
) -> None:
    if isinstance(index, dict):
        index = {"dims": 8, "embed": "./letters.py:embed", **index}
    with pytest.raises(ConfigError, match=message):
        write_config({"graphs": ONE, "store": {"index": index}})


def test_what_expires_is_looked_for_as_often_as_either_part_says(write_config: WriteConfig) -> None:
    for threads, items in ((5, 2), (2, 5)):
        config = write_config(
            {
                "graphs": ONE,
                "checkpointer": {"ttl": {"sweep_interval_minutes": threads}},
                "store": {"ttl": {"sweep_interval_minutes": items}},
            }
        )
        assert config.sweep_interval == timedelta(minutes=2)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        read_config(tmp_path / "langgraph.json")


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "langgraph.json"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(path)


def test_strange_keys_are_warned_about_by_name(write_config: WriteConfig) -> None:
    config = write_config({"graphs": ONE, "auth": {}, "http": {}, "grahps": {}, "$schema": "x"})

    assert config.warnings == (
        "langgraph.json: not used by Runwire: auth, http",
        "langgraph.json: unknown keys: grahps",
    )


def test_local_dependencies_are_directories_and_packages_are_left_alone(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()

    config = write_config({"graphs": ONE, "dependencies": [".", "./lib", "langchain-openai"]})

    assert config.directories == (tmp_path, tmp_path / "lib")


def test_the_environment_may_stand_in_the_file(write_config: WriteConfig) -> None:
    config = write_config({"graphs": ONE, "env": {"A": "text", "B": 5}})

    assert config.env == {"A": "text", "B": "5"}


def test_the_environment_may_stand_in_a_file_of_its_own(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("# keys\nA='x y'\nexport B=2\nC\n")

    assert write_config({"graphs": ONE, "env": ".env"}).env == {"A": "x y", "B": "2"}


def test_a_missing_environment_file_is_only_warned_about(write_config: WriteConfig) -> None:
    config = write_config({"graphs": ONE, "env": ".env"})

    assert config.env == {}
    assert config.warnings == (
        "langgraph.json: env: there is no file .env, nothing was read from it",
    )


def test_the_environment_does_not_override_what_is_set(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RW_TEST_SET", "before")
    monkeypatch.setenv("RW_TEST_NEW", "")
    monkeypatch.delenv("RW_TEST_NEW")
    config = write_config({"graphs": ONE, "env": {"RW_TEST_SET": "x", "RW_TEST_NEW": "y"}})

    assert apply_env(config) == ["RW_TEST_NEW"]

    assert os.environ["RW_TEST_SET"] == "before"
    assert os.environ["RW_TEST_NEW"] == "y"
