"""What becomes of each argument of each method: whether it does something."""

import warnings
from collections.abc import Iterator
from typing import Any

from tests.support.recorded_calls import observe
from tests.support.sdk_examples import another, example
from tests.support.sdk_surface import (
    Found,
    methods_of,
    nouns_of,
    our_client,
    parameters_of,
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
