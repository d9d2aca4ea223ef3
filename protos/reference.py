"""The reference of the API in docs/api/, a page for each file of the contract, made from its
comments."""

from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

# The numbers of fields of FileDescriptorProto, DescriptorProto and so on: they make up the paths
# by which a file's comments are found.
MESSAGES, ENUMS, SERVICES = 4, 5, 6
FIELDS, NESTED = 2, 3
VALUES = METHODS = 2
SYNTAX = (12,)
GOOGLE = "https://protobuf.dev/reference/protobuf/google.protobuf/#"

Path = tuple[int, ...]


class Page(NamedTuple):
    """A file of the contract, what it says it is about, its comments by their paths, and where each
    type is explained."""

    file: FileDescriptorProto
    subject: str
    comments: dict[Path, str]
    places: dict[str, str]


def reference(files: FileDescriptorSet) -> dict[str, bytes]:
    """Return the pages as files' names and contents."""
    ours = sorted(files.file, key=lambda file: file.name)
    places = dict(place for file in ours for place in places_of(file))
    pages = {
        page_name(file): Page(file, subject_of(file), comments_of(file), places) for file in ours
    }
    texts = {name: "\n".join(page_lines(page)) for name, page in pages.items()}
    texts["README.md"] = "\n".join(index_lines(pages))
    return {name: (text.rstrip() + "\n").encode() for name, text in texts.items()}


def page_name(file: FileDescriptorProto) -> str:
    """Return the name of a file's page."""
    return file.name.rpartition("/")[2].replace(".proto", ".md")


def places_of(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Give each type of a file by its full name, with the place that explains it."""
    for one in (*file.message_type, *file.enum_type):
        yield f".{file.package}.{one.name}", f"{page_name(file)}#{one.name.lower()}"


def comments_of(file: FileDescriptorProto) -> dict[Path, str]:
    """Return what stands before each thing of a file."""
    return {
        tuple(location.path): "\n".join(
            line.removeprefix(" ") for line in location.leading_comments.rstrip().splitlines()
        )
        for location in file.source_code_info.location
        if location.leading_comments
    }


def subject_of(file: FileDescriptorProto) -> str:
    """Return what a file says of itself at its top."""
    tops = [one for one in file.source_code_info.location if tuple(one.path) == SYNTAX]
    return tops[0].leading_detached_comments[0].strip() if tops else ""


def index_lines(pages: dict[str, Page]) -> Iterator[str]:
    """Give the lines of the page that leads to the others."""
    yield "# The API"
    yield ""
    yield (
        "Made from the comments of [the contract](../../protos/runwire/v1), which"
        " `grpcurl describe` shows as well."
    )
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, page in pages.items():
        calls = [f"`{m.name}`" for service in page.file.service for m in service.method]
        yield f"| [{name.removesuffix('.md')}]({name}) | {' '.join(calls) or page.subject} |"


def page_lines(page: Page) -> Iterator[str]:
    """Give the lines of a file's page."""
    yield f"# {page.file.name.rpartition('/')[2].removesuffix('.proto').capitalize()}"
    yield ""
    yield f"{page.subject} Made from [{page.file.name}](../../protos/{page.file.name})."
    yield ""
    for number, service in enumerate(page.file.service):
        yield from service_lines(page, service, (SERVICES, number))
    for number, message in enumerate(page.file.message_type):
        yield from message_lines(page, message, (MESSAGES, number))
    for number, enum in enumerate(page.file.enum_type):
        yield from enum_lines(page, enum, (ENUMS, number))


def service_lines(page: Page, service: ServiceDescriptorProto, path: Path) -> Iterator[str]:
    """Give the lines that explain a service."""
    yield f"## {service.name}"
    yield ""
    yield page.comments[path]
    yield ""
    for number, method in enumerate(service.method):
        taken, given = (_type(page, name) for name in (method.input_type, method.output_type))
        stream = "a stream of " if method.server_streaming else ""
        yield f"### {service.name}.{method.name}"
        yield ""
        yield f"Takes {taken}, answers with {stream}{given}."
        yield ""
        yield page.comments[(*path, METHODS, number)]
        yield ""


def message_lines(page: Page, message: DescriptorProto, path: Path) -> Iterator[str]:
    """Give the lines that explain a message."""
    yield f"## {message.name}"
    yield ""
    yield page.comments[path]
    yield ""
    if message.field:
        yield "| field | type | |"
        yield "|---|---|---|"
    for number, field in enumerate(message.field):
        comment = _cell(page.comments[(*path, FIELDS, number)])
        yield f"| `{field.name}` | {_field_type(page, message, field)} | {comment} |"
    yield ""


def enum_lines(page: Page, enum: EnumDescriptorProto, path: Path) -> Iterator[str]:
    """Give the lines that explain an enum."""
    yield f"## {enum.name}"
    yield ""
    yield page.comments[path]
    yield ""
    yield "| value | number | |"
    yield "|---|---|---|"
    for number, value in enumerate(enum.value):
        comment = _cell(page.comments[(*path, VALUES, number)])
        yield f"| `{value.name}` | {value.number} | {comment} |"
    yield ""


def _field_type(page: Page, message: DescriptorProto, field: FieldDescriptorProto) -> str:
    for nested in message.nested_type:
        if nested.options.map_entry and field.type_name.endswith(f".{nested.name}"):
            key, value = (_type_of(page, one) for one in nested.field)
            return f"map of {key} to {value}"
    prefix = "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else ""
    if field.proto3_optional:
        prefix = "optional "
    elif field.HasField("oneof_index"):
        prefix = f"{message.oneof_decl[field.oneof_index].name}: "
    return prefix + _type_of(page, field)


def _type_of(page: Page, field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _type(page, field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _type(page: Page, name: str) -> str:
    short = name.rpartition(".")[2]
    if name in page.places:
        return f"[{short}]({page.places[name]})"
    return f"[{short}]({GOOGLE}{_kebab(short)})"


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _cell(comment: str) -> str:
    """Return a comment as it fits into a table's cell: its lines are one, paragraphs stay apart."""
    paragraphs = [" ".join(part.split()) for part in comment.split("\n\n")]
    return "<br>".join(paragraphs).replace("|", "\\|")
