"""`runwire assistants`, through a real server."""

from uuid import uuid4

from tests.commands.conftest import Commands


def test_an_assistant_s_life(runwire: Commands) -> None:
    name = f"polite {uuid4()}"
    created = runwire("assistants", "create", "echo", f"--name={name}", '--context={"a": 1}')
    assistant_id = created.output.strip()
    changed = runwire("assistants", "update", assistant_id, "--description=Says please.", "--json")
    found = runwire("assistants", "list", f"--name={name}", "--json").document
    versions = runwire("assistants", "versions", assistant_id, "--json").document
    back = runwire("assistants", "update", assistant_id, "--version=1", "--json").document

    assert [one["assistant_id"] for one in found] == [assistant_id]
    assert changed.document["description"] == "Says please."
    assert [version["version"] for version in versions] == [2, 1]
    assert back["description"] is None
    shown = runwire("assistants", "get", assistant_id)
    assert f"name          {name}" in shown.output.splitlines()
    deleted = runwire("assistants", "delete", assistant_id)
    assert deleted.output == f"assistant {assistant_id} deleted\n"
    gone = runwire("assistants", "get", assistant_id)
    assert (gone.exit_code, gone.output) == (2, "")
    assert gone.errors.endswith("(see: runwire assistants list)\n")


def test_a_change_says_what_to_change(runwire: Commands) -> None:
    for options in ([], ["--version=1", "--name=x"]):
        said = runwire("assistants", "update", "echo", *options)
        assert (said.exit_code, said.output) == (2, "")
        assert said.errors.startswith("say what to change, or --version alone")


def test_a_graph_is_drawn_as_text_and_as_mermaid(runwire: Commands) -> None:
    drawn = runwire("assistants", "graph", "branches").output
    mermaid = runwire("assistants", "graph", "branches", "--mermaid").output
    within = runwire("assistants", "graph", "nested", "--xray=1").output

    assert drawn.splitlines()[0] == "__start__"
    assert {"left", "right", "join"} <= set(drawn.split())
    assert mermaid.startswith(("---", "graph"))
    assert "-->" in mermaid
    assert "inner:inner_node" in within
    nodes = runwire("assistants", "graph", "branches", "--json").document["nodes"]
    assert {node["id"] for node in nodes} >= {"__start__", "left", "right", "join"}


def test_schemas_are_json(runwire: Commands) -> None:
    schemas = runwire("assistants", "schemas", "echo").document

    assert schemas["graph_id"] == "echo"
    assert schemas["input_schema"]["type"] == "object"
