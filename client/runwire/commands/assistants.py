"""`runwire assistants`: graphs with their configurations, and what they look like."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from runwire.commands.calling import Address, AsJson, Limit, Offset, connected, object_of, refuse
from runwire.commands.drawing import drawn
from runwire.commands.output import Row, moment, print_answer, print_json, print_list, safe

app = typer.Typer(
    help="Assistants: graphs with their configurations.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

AssistantId = Annotated[
    str, typer.Argument(metavar="ASSISTANT", help="An assistant's id, or a graph's.")
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="Its name.")]
Description = Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.")]
Config = Annotated[
    str | None,
    typer.Option(metavar="JSON", help="An object with tags, recursion_limit, configurable."),
]
Context = Annotated[
    str | None, typer.Option(metavar="JSON", help="The context of its runs, a JSON object.")
]
Metadata = Annotated[str | None, typer.Option(metavar="JSON", help="An object to find it by.")]


@app.command("list", epilog="Example: runwire assistants list --graph chat")
def list_assistants(
    graph: Annotated[str | None, typer.Option(metavar="GRAPH", help="Only of this graph.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those whose name contains this.")
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="Only those whose metadata contains this.")
    ] = None,
    sort: Annotated[
        Literal["created_at", "updated_at", "name", "graph_id", "assistant_id"],
        typer.Option(help="What to sort by."),
    ] = "created_at",
    order: Annotated[Literal["asc", "desc"], typer.Option(help="In which direction.")] = "desc",
    limit: Limit = 20,
    offset: Offset = 0,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """List assistants, the newest first unless said otherwise."""
    with connected(address) as client:
        found = client.assistants.search(
            graph_id=graph,
            name=name,
            metadata=object_of("--metadata", metadata),
            sort_by=sort,
            sort_order=order,
            limit=limit,
            offset=offset,
        )
    print_list(found, _row, to_json=as_json, nothing="no assistants")


@app.command(epilog="Example: runwire assistants get chat")
def get(assistant_id: AssistantId, address: Address = "", as_json: AsJson = False) -> None:
    """Show an assistant at its newest version."""
    with connected(address) as client:
        print_answer(client.assistants.get(assistant_id), to_json=as_json)


@app.command(
    epilog="Example: runwire assistants create chat --name polite "
    '--context \'{"system_prompt": "Be polite."}\''
)
def create(
    graph_id: Annotated[str, typer.Argument(metavar="GRAPH", help="The graph's id.")],
    assistant_id: Annotated[
        str | None, typer.Option("--id", metavar="UUID", help="Its id; the server makes one.")
    ] = None,
    name: Name = None,
    description: Description = None,
    config: Config = None,
    context: Context = None,
    metadata: Metadata = None,
    if_exists: Annotated[
        Literal["raise", "do_nothing"] | None,
        typer.Option(help="What to do if there is one with this --id. [default: raise]"),
    ] = None,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Create an assistant and print its id."""
    with connected(address) as client:
        assistant = client.assistants.create(
            graph_id,
            config=_config(config),
            context=object_of("--context", context),
            metadata=object_of("--metadata", metadata),
            assistant_id=assistant_id,
            if_exists=if_exists,
            name=name,
            description=description,
        )
    if as_json:
        print_json(assistant)
    else:
        print(assistant["assistant_id"])


@app.command(
    epilog="Example: runwire assistants update 0192f0c1-7d2e-7a10-8b3c-4d5e6f7a8b9c "
    '--context \'{"system_prompt": "Be brief."}\''
)
def update(
    assistant_id: AssistantId,
    graph: Annotated[str | None, typer.Option(metavar="GRAPH", help="Another graph.")] = None,
    name: Name = None,
    description: Description = None,
    config: Config = None,
    context: Context = None,
    metadata: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Merged into the assistant's; null removes a key."),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(min=1, help="Instead of all this: make it again what it was at a version."),
    ] = None,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Change an assistant, which makes a new version, or go back to an old one."""
    changes = (graph, name, description, config, context, metadata)
    if (version is None) == all(change is None for change in changes):
        refuse("say what to change, or --version alone to go back to that version")
    with connected(address) as client:
        if version is not None:
            assistant = client.assistants.set_latest(assistant_id, version)
        else:
            assistant = client.assistants.update(
                assistant_id,
                graph_id=graph,
                config=_config(config),
                context=object_of("--context", context),
                metadata=object_of("--metadata", metadata),
                name=name,
                description=description,
            )
    print_answer(assistant, to_json=as_json)


@app.command(epilog="Example: runwire assistants versions chat")
def versions(
    assistant_id: AssistantId,
    limit: Limit = 20,
    offset: Offset = 0,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """List an assistant's versions, the highest first."""
    with connected(address) as client:
        found = client.assistants.get_versions(assistant_id, limit=limit, offset=offset)
    print_list(found, _version_row, to_json=as_json, nothing="no versions")


@app.command(epilog="Example: runwire assistants delete 0192f0c1-7d2e-7a10-8b3c-4d5e6f7a8b9c")
def delete(
    assistant_id: AssistantId,
    delete_threads: Annotated[
        bool, typer.Option("--delete-threads", help="Also the threads that it alone has run on.")
    ] = False,
    keep_busy: Annotated[
        bool, typer.Option("--keep-busy", help="Fail if it has runs that have not ended.")
    ] = False,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Delete an assistant with its versions; its runs are cancelled first."""
    with connected(address) as client:
        client.assistants.delete(
            assistant_id, delete_threads=delete_threads, cancel_runs=not keep_busy
        )
    if as_json:
        print_json({"deleted": [assistant_id]})
    else:
        print(f"assistant {assistant_id} deleted")


@app.command(epilog="Example: runwire assistants schemas chat --json | jq .input_schema")
def schemas(assistant_id: AssistantId, address: Address = "", as_json: AsJson = False) -> None:
    """Show the JSON schemas of what an assistant's graph takes and gives."""
    with connected(address) as client:
        print_json(client.assistants.get_schemas(assistant_id))


@app.command(epilog="Example: runwire assistants graph chat --mermaid > chat.mmd")
def graph(
    assistant_id: AssistantId,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As Mermaid's text.")] = False,
    xray: Annotated[
        int, typer.Option(min=0, help="How many levels of subgraphs to look into.")
    ] = 0,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Draw an assistant's graph as text, or as Mermaid."""
    with connected(address) as client:
        found: Any = client.assistants.get_graph(assistant_id, xray=xray)
    if as_json:
        print_json(found)
    elif mermaid:
        print(safe(found["mermaid"].rstrip("\n"), sys.stdout))
    else:
        print("\n".join(drawn(found)))


def _config(text: str | None) -> Any:
    return object_of("--config", text)


def _row(assistant: Mapping[str, Any]) -> Row:
    return (
        ("assistant", assistant["assistant_id"]),
        ("graph", assistant["graph_id"]),
        ("name", assistant["name"]),
        ("version", assistant["version"]),
        ("updated", moment(assistant["updated_at"])),
        ("description", assistant["description"]),
    )


def _version_row(version: Mapping[str, Any]) -> Row:
    return (
        ("version", version["version"]),
        ("graph", version["graph_id"]),
        ("name", version["name"]),
        ("created", moment(version["created_at"])),
        ("context", version["context"] or None),
        ("config", version["config"] or None),
    )
