"""What becomes of each argument of each method: whether it does something."""

import warnings
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from tests.support.recorded_calls import observe
from tests.support.sdk_examples import another, example
from tests.support.sdk_surface import (
    Found,
    methods_of,
    nouns_of,
    our_client,
    parameters_of,
    sdk_client,
)


def all_methods(face: str) -> Iterator[tuple[str, str, Any]]:
    """Give all methods of a face, as their noun, their name and themselves."""
    for noun, part in nouns_of(our_client(face)).items():
        for name, method in methods_of(part).items():
            yield noun, name, method


def required(noun: str, name: str, method: Any) -> dict[str, Any]:
    """Return what has to be given to a method."""
    parameters = parameters_of(method).values()
    needed = [one.name for one in parameters if one.default is one.empty]
    return {one: example(f"{noun}.{name}", one) for one in needed}


async def idle_arguments(face: str) -> set[Found]:
    """Return the arguments that are refused, and those that change nothing that can be seen."""
    found = set()
    for noun, name, method in all_methods(face):
        where = f"{noun}.{name}"
        base = required(noun, name, method)
        seen, _ = await observe(face, noun, name, base)
        for argument in parameters_of(method):
            if argument == "request_id":  # is left out of what is seen
                continue
            place = f"{where}({argument})"
            given = another(where, argument) if argument in base else example(where, argument)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    changed, _ = await observe(face, noun, name, {**base, argument: given})
            except NotImplementedError as refusal:
                is_named = str(refusal).startswith(argument)
                found.add(Found("refused" if is_named else "refused unnamed", place))
            else:
                if changed == seen:
                    found.add(Found("without effect", place))
    return found


async def refused_words(face: str) -> set[Found]:
    """Return the words that langgraph_sdk has for an argument and that are refused."""
    theirs = nouns_of(sdk_client(face))
    found = set()
    for noun, name, method in all_methods(face):
        known = methods_of(theirs[noun]).get(name) if noun in theirs else None
        if known is None:
            continue
        base = required(noun, name, method)
        for argument, parameter in parameters_of(known).items():
            for word in _words(eval(parameter.annotation, known.__globals__)):
                given = [word] if argument == "select" else word
                try:
                    await observe(face, noun, name, {**base, argument: given})
                except (NotImplementedError, ValueError, TypeError):
                    found.add(Found("refused", f"{noun}.{name}({argument}={word!r})"))
    return found


def _words(hint: Any) -> set[str]:
    """Return the words of all literals in an annotation."""
    if get_origin(hint) is Literal:
        return {word for word in get_args(hint) if isinstance(word, str)}
    return {word for one in get_args(hint) for word in _words(one)}
