"""The settings as options of a command: flags, `--help`, and nothing to write down twice."""

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic import ByteSize
from pydantic.fields import FieldInfo

from runwire.server.durations import format_duration
from runwire.server.settings import Settings, flag_of, variables_of

Command = Callable[..., None]


def takes_settings(kind: type[Settings]) -> Callable[[Command], Command]:
    """Give a command that takes `**given` an option for each setting, after those of its own.

    An option that is not used arrives as None: the environment is read by `Settings`, so that
    flags and variables are understood, and refused, in the same words.
    """

    def give_options(command: Command) -> Command:
        options = {
            name: field for name, field in kind.model_fields.items() if name not in kind.no_options
        }
        parameters = [*_own(command), *(_parameter(name, field) for name, field in options.items())]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return give_options


def flags_of(settings: Settings, given: Mapping[str, object]) -> list[str]:
    """Return flags that make `serve` read the same settings in the same environment. `given` are
    the flags that made these: what the environment says need not be shown to whoever lists the
    machine's processes, because a database's URL may hold a password."""
    flags = []
    for name, field in type(settings).model_fields.items():
        is_given = given.get(name) is not None
        is_own = name not in settings.model_fields_set and field.default != _default(name)
        if not (is_given or is_own):
            continue
        match getattr(settings, name):
            case None:
                pass
            case bool(switched_on):
                flags.append(flag_of(name if switched_on else f"no_{name}"))
            case timedelta() as duration:
                flags.append(f"{flag_of(name)}={format_duration(duration)}")
            case value:
                flags.append(f"{flag_of(name)}={value}")
    return flags


def _default(name: str) -> object:
    return Settings.model_fields[name].default


def _own(command: Command) -> list[inspect.Parameter]:
    """Return a command's parameters but for `**given`."""
    return [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(command).parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=_option(name, field),
    )


def _option(name: str, field: FieldInfo) -> Any:
    flag = flag_of(name)
    is_switch = field.annotation in (bool, bool | None)
    option = typer.Option(
        f"{flag}/{flag_of('no_' + name)}" if is_switch else flag,
        help=_help(name, field),
        metavar=None if is_switch else _metavar(field),
        show_default=False,  # its default is that the flag was not used
    )
    return Annotated[bool | None if is_switch else str | None, option]


def _metavar(field: FieldInfo) -> str:
    kinds = {int: "NUMBER", ByteSize: "SIZE", timedelta: "DURATION"}
    kind = _without_none(field.annotation)
    return kinds.get(kind, "TEXT") if isinstance(kind, type) else "WORD"


def _without_none(annotation: Any) -> Any:
    """Return what a setting holds that may also be unset."""
    if type(None) not in get_args(annotation):
        return annotation
    kind = next(part for part in get_args(annotation) if part is not type(None))
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _help(name: str, field: FieldInfo) -> str:
    default = _shown(field.default)
    variables = " or ".join(variables_of(name, field))
    return f"{field.description} [env: {variables}]" + (f" [default: {default}]" if default else "")


def _shown(default: object) -> str:
    """Return a default as an operator would write it, nothing if the description says it."""
    match default:
        case None:
            return ""
        case bool(switched_on):
            return "on" if switched_on else "off"
        case ByteSize() as size:
            return size.human_readable(separator="").replace(".0", "")
        case timedelta() as duration:
            return format_duration(duration)
        case other:
            return str(other)
