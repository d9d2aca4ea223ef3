"""What langgraph_sdk's clients offer, set beside what this client offers, by introspection."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, get_overloads

import langgraph_sdk
from langgraph_sdk import client as sdk_clients

from runwire import client as runwire_client
from runwire.client import specs

Method = Callable[..., Any]

FACES = ("async", "sync")

MAKERS = {"async": "get_client", "sync": "get_sync_client"}


class Found(NamedTuple):
    """One difference: what kind of difference it is, and where."""

    kind: str
    where: str


@cache
def sdk_client(face: str) -> Any:
    """Return a client of langgraph_sdk. It calls nobody."""
    return getattr(langgraph_sdk, MAKERS[face])(url="http://localhost", api_key=None)


def our_client(face: str) -> Any:
    """Return a client of ours. It calls nobody."""
    return getattr(runwire_client, MAKERS[face])()


def nouns_of(client: Any) -> dict[str, Any]:
    """Return the parts of a client, by the names of what they are about."""
    return {name: part for name, part in vars(client).items() if not name.startswith("_")}


def methods_of(part: Any) -> dict[str, Method]:
    """Return the public methods of a part, by their names."""
    members = inspect.getmembers(type(part), inspect.isfunction)
    return {name: method for name, method in members if not name.startswith("_")}


def parameters_of(method: Method) -> dict[str, inspect.Parameter]:
    """Return a method's parameters; those that it takes as a typed dict's keys by their names."""
    parameters = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            options = re.fullmatch(r"Unpack\[(\w+)\]", parameter.annotation)
            assert options, f"{method.__qualname__}: anything can be given to it"
            keys = vars(specs)[options[1]].__annotations__
            parameters.update({key: _option(key) for key in keys})
        elif name != "self":
            parameters[name] = parameter
    return parameters


def parameters_by_place(client: Any) -> list[str]:
    """Return all arguments of all methods, as "runs.get(run_id)"."""
    return [
        f"{noun}.{name}({parameter})"
        for noun, part in nouns_of(client).items()
        for name, method in methods_of(part).items()
        for parameter in parameters_of(method)
    ]


NOT_GIVEN = "stands for the default"


def _option(name: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=NOT_GIVEN)


def absent_names() -> set[Found]:
    """Return what can be imported from langgraph_sdk and its module of clients, and not here."""
    theirs = {name for name in (*langgraph_sdk.__all__, *sdk_clients.__all__) if name[0] != "_"}
    absent = theirs - set(runwire_client.__all__)
    return {Found("absent", f"langgraph_sdk.{name}") for name in absent}


def differences(face: str) -> set[Found]:
    """Return all differences of one face."""
    theirs, ours = sdk_client(face), our_client(face)
    their_parts, our_parts = nouns_of(theirs), nouns_of(ours)
    names = _names("", their_parts, our_parts)
    names |= _names("", methods_of(theirs), methods_of(ours))
    made = MAKERS[face]
    names |= {
        Found(kind, where.replace(made, "get_client"))
        for kind, where in _of_method(
            made, getattr(langgraph_sdk, made), getattr(runwire_client, made)
        )
    }
    for noun in their_parts.keys() & our_parts.keys():
        their_methods, our_methods = methods_of(their_parts[noun]), methods_of(our_parts[noun])
        names |= _names(f"{noun}.", their_methods, our_methods)
        for name in their_methods.keys() & our_methods.keys():
            names |= set(_of_method(f"{noun}.{name}", their_methods[name], our_methods[name]))
    return names


def _names(prefix: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> set[Found]:
    absent = {Found("absent", f"{prefix}{name}") for name in theirs.keys() - ours.keys()}
    return absent | {Found("added", f"{prefix}{name}") for name in ours.keys() - theirs.keys()}


def _of_method(where: str, theirs: Method, ours: Method) -> Iterator[Found]:
    wanted, known = parameters_of(theirs), parameters_of(ours)
    for overload in get_overloads(theirs):
        for name, parameter in parameters_of(overload).items():
            wanted.setdefault(name, parameter)
            # Without a default it is what tells the overload from the others.
            has_default = parameter.default is not parameter.empty
            if has_default and name in known and _default_differs(parameter, known[name]):
                yield Found("default", f"{where}({name})")
    for name in wanted.keys() - known.keys():
        yield Found("absent", f"{where}({name})")
    for name in known.keys() - wanted.keys():
        yield Found("added", f"{where}({name})")
    for name in wanted.keys() & known.keys():
        if wanted[name].kind != known[name].kind:
            yield Found("place", f"{where}({name})")
        if _default_differs(wanted[name], known[name]):
            yield Found("default", f"{where}({name})")
    positional = [name for name, one in wanted.items() if one.kind is not one.KEYWORD_ONLY]
    if positional != [*known][: len(positional)]:
        yield Found("place", where)
    if inspect.iscoroutinefunction(theirs) != inspect.iscoroutinefunction(ours):
        yield Found("awaited", where)
    if where in ("get_client", "get_sync_client"):
        return
    if _result(theirs) != _result(ours):
        yield Found("result", where)


def _default_differs(theirs: inspect.Parameter, ours: inspect.Parameter) -> bool:
    if ours.default is NOT_GIVEN:
        return theirs.default is theirs.empty
    if type(theirs.default) is object and type(ours.default) is object:
        return False  # either stands for "not given"
    return bool(theirs.default != ours.default)


def _result(method: Method) -> frozenset[str]:
    """Return the kinds of result that a method's annotation names."""
    text = re.sub(r"\b(sdk|builtins)\.|\s", "", str(inspect.signature(method).return_annotation))
    kinds, depth, start = [], 0, 0
    for place, character in enumerate(f"{text}|"):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "|" and depth == 0:
            kinds.append(text[start:place])
            start = place + 1
    return frozenset(kinds)
