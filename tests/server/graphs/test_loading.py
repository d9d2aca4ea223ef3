"""Import of graph files and modules."""

import sys
from pathlib import Path

import pytest
from tests.server.graphs.conftest import WriteConfig

from runwire.server.graphs.config import GraphsConfig, read_config
from runwire.server.graphs.loading import GraphLoadError, load_attribute, put_on_path


def load(config: GraphsConfig, graph_id: str = "chat") -> object:
    put_on_path(config.directories)
    return load_attribute(config.graphs[graph_id], config)


def failure(config: GraphsConfig) -> str:
    with pytest.raises(GraphLoadError) as caught:
        load(config)
    return str(caught.value)


FILE = {"graphs": {"chat": "./chat.py:graph"}}


def test_an_attribute_of_a_file_is_found(write_config: WriteConfig) -> None:
    assert load(write_config(FILE, chat="graph = 'it'")) == "it"


def test_an_attribute_of_a_module_is_found(write_config: WriteConfig) -> None:
    config = write_config({"graphs": {"chat": "my_chat_module:graph"}}, my_chat_module="graph = 1")

    assert load(config) == 1


def test_files_import_what_lies_beside_them(write_config: WriteConfig) -> None:
    config = write_config(FILE, chat="from beside import graph", beside="graph = 'beside'")

    assert load(config) == "beside"


def test_files_import_from_the_directories_of_dependencies(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "in_lib.py").write_text("graph = 'lib'")
    config = write_config({**FILE, "dependencies": ["./lib"]}, chat="from in_lib import graph")

    assert load(config) == "lib"


def test_two_graphs_of_one_file_share_one_import(write_config: WriteConfig) -> None:
    config = write_config(
        {"graphs": {"a": "./both.py:first", "b": "./both.py:second"}},
        both="class Thing: ...\nfirst = second = Thing()",
    )

    assert load(config, "a") is load(config, "b")


def test_a_file_is_the_module_that_others_import(write_config: WriteConfig, tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "chat.py").write_text("class State: ...\ngraph = State")
    config = write_config(
        {"graphs": {"chat": "./agents/chat.py:graph", "other": "./other.py:graph"}},
        other="from agents.chat import State as graph",
    )

    assert load(config) is load(config, "other")


def test_a_module_of_a_file_has_the_same_name_wherever_the_project_lies(tmp_path: Path) -> None:
    names = []
    for place in ("here", "there"):
        directory = tmp_path / place
        (directory / "my-agents").mkdir(parents=True)
        (directory / "my-agents" / "chat.py").write_text("graph = __name__")
        (directory / "langgraph.json").write_text(
            '{"graphs": {"chat": "./my-agents/chat.py:graph"}}'
        )
        names.append(load(read_config(directory / "langgraph.json")))

    assert names[0] == names[1]
    assert str(names[0]).isidentifier()


def test_a_file_named_like_a_module_of_python_does_not_replace_it(
    write_config: WriteConfig,
) -> None:
    import json

    config = write_config({"graphs": {"chat": "./json.py:graph"}}, json="graph = 'mine'")

    assert load(config) == "mine"
    assert sys.modules["json"] is json


def test_dataclasses_and_relative_imports_work_in_a_package(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    package = tmp_path / "agency"
    package.mkdir()
    (package / "parts.py").write_text("number = 5")
    (package / "chat.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from .parts import number\n@dataclass\nclass Point:\n    x: int\ngraph = Point(number)"
    )

    graph = load(write_config({"graphs": {"chat": "./agency/chat.py:graph"}}))

    assert repr(graph) == "Point(x=5)"


def test_a_missing_file_is_told(write_config: WriteConfig) -> None:
    assert failure(write_config(FILE)) == "graph 'chat': there is no file ./chat.py"


def test_a_missing_attribute_is_told(write_config: WriteConfig) -> None:
    message = failure(write_config(FILE, chat="grahp = 1"))

    assert message == "graph 'chat': ./chat.py has no attribute 'graph'"


def test_a_missing_module_is_told(write_config: WriteConfig) -> None:
    message = failure(write_config({"graphs": {"chat": "no_such_module:graph"}}))

    assert message.endswith(
        "no_such_module cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = 1\nraise ValueError('broken')\n", "line 2: ValueError: broken\n    raise ValueError"),
        ("def f():\n    return 1 / 0\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("x = 1\ny = (\n", "line 2: SyntaxError: '(' was never closed\n    y = ("),
        ("import no_such_thing\n", "line 1: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("from json import nothing\n", "line 1: ImportError: cannot import name 'nothing'"),
        ("import sys\nsys.exit('bye')\n", "line 2: SystemExit: bye\n    sys.exit('bye')"),
        ("raise RuntimeError\n", "line 1: RuntimeError\n    raise RuntimeError"),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError: Expecting property name"),
    ],
)
def test_a_broken_file_is_told_by_line_and_cause(
    write_config: WriteConfig, code: str, expected: str
) -> None:
    message = failure(write_config(FILE, chat=code))

    assert message.startswith(f"graph 'chat': chat.py, {expected}")
    assert message.count("\n") <= 1


def test_a_broken_import_of_a_file_is_told_where_it_broke(write_config: WriteConfig) -> None:
    message = failure(write_config(FILE, chat="import beside", beside="\n\nraise KeyError('k')"))

    assert message == "graph 'chat': beside.py, line 3: KeyError: 'k'\n    raise KeyError('k')"


def test_a_broken_file_can_be_repaired_and_imported_again(write_config: WriteConfig) -> None:
    failure(write_config({"graphs": {"chat": "./a-b.py:graph"}}, **{"a-b": "raise ValueError"}))

    repaired = write_config({"graphs": {"chat": "./a-b.py:graph"}}, **{"a-b": "graph = 'well'"})
    assert load(repaired) == "well"


def test_a_file_outside_of_the_project_is_refused(
    write_config: WriteConfig, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "chat.py"
    outside.write_text("graph = 'stolen'")
    (tmp_path / "link.py").symlink_to(outside)

    for source in (str(outside), f"../{outside.parent.name}/chat.py", "./link.py"):
        message = failure(write_config({"graphs": {"chat": f"{source}:graph"}}))
        assert f"{source} is outside of {tmp_path}" in message


def test_a_file_in_a_dependency_outside_of_the_project_is_taken(
    write_config: WriteConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("shared")
    (directory / "shared_chat.py").write_text("graph = 'shared'")
    source = directory / "shared_chat.py"

    config = write_config({"graphs": {"chat": f"{source}:graph"}, "dependencies": [str(directory)]})

    assert load(config) == "shared"
