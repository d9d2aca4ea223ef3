"""`runwire crons`: runs that start by themselves, at the times that a schedule says."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from runwire.commands.calling import (
    JSON_HELP,
    Address,
    AsJson,
    Limit,
    Offset,
    connected,
    json_of,
    moment_of,
    object_of,
    refuse,
)
from runwire.commands.output import Row, moment, print_answer, print_json, print_list

app = typer.Typer(
    help="Crons: runs that start on a schedule.", no_args_is_help=True, rich_markup_mode=None
)

CronId = Annotated[str, typer.Argument(metavar="CRON", help="The cron's id.")]
Input = Annotated[
    str | None,
    typer.Option("--input", "-i", metavar="JSON", help=f"The runs' input: {JSON_HELP}"),
]
Context = Annotated[
    str | None, typer.Option(metavar="JSON", help="The runs' context, a JSON object.")
]
Config = Annotated[
    str | None,
    typer.Option(metavar="JSON", help="An object with tags, recursion_limit, configurable."),
]
Webhook = Annotated[
    str | None, typer.Option(metavar="URL", help="Called when one of its runs has ended.")
]
End = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="The last moment at which it fires. [default: none]"),
]
SCHEDULE_HELP = (
    "Five fields: minute, hour, day of the month, month, day of the week, as in '0 9 * * mon-fri'."
)


@app.command(
    epilog="Example: runwire crons create research --schedule '0 9 * * mon-fri' "
    '--timezone Europe/Berlin --input \'{"question": "What is new?"}\''
)
def create(
    assistant: Annotated[
        str, typer.Argument(metavar="ASSISTANT", help="A graph's id, or an assistant's.")
    ],
    schedule: Annotated[str, typer.Option(metavar="FIELDS", help=SCHEDULE_HELP)],
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Whose clock it goes by. [default: UTC]"),
    ] = None,
    thread: Annotated[
        str | None,
        typer.Option(metavar="THREAD", help="The thread of its runs; stateless without it."),
    ] = None,
    run_input: Input = None,
    context: Context = None,
    config: Config = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="An object to find it, and its runs, by.")
    ] = None,
    end: End = None,
    webhook: Webhook = None,
    multitask: Annotated[
        Literal["enqueue", "reject", "interrupt", "rollback"] | None,
        typer.Option(help="If the thread is busy. [default: enqueue]"),
    ] = None,
    disabled: Annotated[
        bool, typer.Option("--disabled", help="Do not let it fire until it is enabled.")
    ] = False,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Create a cron and print its id."""
    arguments: dict[str, Any] = {
        "schedule": schedule,
        "timezone": timezone,
        "input": json_of("--input", run_input),
        "context": object_of("--context", context),
        "config": object_of("--config", config),
        "metadata": object_of("--metadata", metadata),
        "end_time": moment_of("--end", end),
        "webhook": webhook,
        "multitask_strategy": multitask,
        "enabled": False if disabled else None,
    }
    with connected(address) as client:
        if thread is None:
            cron = client.crons.create(assistant, **arguments)
        else:
            cron = client.crons.create_for_thread(thread, assistant, **arguments)
    if as_json:
        print_json(cron)
    else:
        print(cron["cron_id"])


@app.command(epilog="Example: runwire crons get 0192f0c4-5a6b-7c8d-9e0f-1a2b3c4d5e6f")
def get(cron_id: CronId, address: Address = "", as_json: AsJson = False) -> None:
    """Show a cron: its schedule, when it fires next, and what became of its last run."""
    with connected(address) as client:
        print_answer(client.crons.get(cron_id), to_json=as_json)


@app.command("list", epilog="Example: runwire crons list --assistant research")
def list_crons(
    assistant: Annotated[
        str | None, typer.Option(metavar="ASSISTANT", help="Only crons of this assistant.")
    ] = None,
    thread: Annotated[
        str | None, typer.Option(metavar="THREAD", help="Only those of this thread.")
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="Only those whose metadata contains this.")
    ] = None,
    enabled: Annotated[
        bool | None,
        typer.Option("--enabled/--disabled", help="Only those that fire, or do not."),
    ] = None,
    limit: Limit = 20,
    offset: Offset = 0,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """List crons, the newest first."""
    with connected(address) as client:
        found = client.crons.search(
            assistant_id=assistant,
            thread_id=thread,
            metadata=object_of("--metadata", metadata),
            enabled=enabled,
            limit=limit,
            offset=offset,
        )
    print_list(found, _row, to_json=as_json, nothing="no crons")


@app.command(epilog="Example: runwire crons update 0192f0c4-5a6b-7c8d-9e0f-1a2b3c4d5e6f --disable")
def update(
    cron_id: CronId,
    schedule: Annotated[str | None, typer.Option(metavar="FIELDS", help=SCHEDULE_HELP)] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Whose clock it goes by.")
    ] = None,
    run_input: Input = None,
    context: Context = None,
    config: Config = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="Merged into the cron's; null removes a key.")
    ] = None,
    end: End = None,
    no_end: Annotated[bool, typer.Option("--no-end", help="Let it fire for ever.")] = False,
    webhook: Webhook = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Let it fire, or not.")
    ] = None,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Change a cron; what is not given stays as it is."""
    if end is not None and no_end:
        refuse("--end and --no-end: give one or the other")
    changes: dict[str, Any] = {
        "schedule": schedule,
        "timezone": timezone,
        "input": json_of("--input", run_input),
        "context": object_of("--context", context),
        "config": object_of("--config", config),
        "metadata": object_of("--metadata", metadata),
        "end_time": moment_of("--end", end),
        "webhook": webhook,
        "enabled": enable,
    }
    changes = {name: change for name, change in changes.items() if change is not None}
    if no_end:
        changes["end_time"] = None
    if not changes:
        refuse("say what to change: see runwire crons update --help")
    with connected(address) as client:
        print_answer(client.crons.update(cron_id, **changes), to_json=as_json)


@app.command(epilog="Example: runwire crons delete 0192f0c4-5a6b-7c8d-9e0f-1a2b3c4d5e6f")
def delete(
    cron_ids: Annotated[list[str], typer.Argument(metavar="CRON...", help="The crons' ids.")],
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Delete crons; their runs stay."""
    with connected(address) as client:
        for cron_id in cron_ids:
            client.crons.delete(cron_id)
            if not as_json:
                print(f"cron {cron_id} deleted")
    if as_json:
        print_json({"deleted": cron_ids})


def _row(cron: Mapping[str, Any]) -> Row:
    return (
        ("cron", cron["cron_id"]),
        ("assistant", cron["assistant_id"]),
        ("schedule", cron["schedule"]),
        ("timezone", cron["timezone"]),
        ("enabled", cron["enabled"]),
        ("next", moment(cron["next_run_date"])),
        ("thread", cron["thread_id"]),
        ("error", (cron["last_error"] or {}).get("message")),
    )
