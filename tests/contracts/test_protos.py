"""The protos are in order, and the code in generated/ is what they make."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from runwire.v1 import events_pb2, runs_pb2

ROOT = Path(__file__).resolve().parents[2]
SOURCE_ROOTS = ("generated", "server", "client")


def run(*command: str) -> None:
    """Run a command in the repository; fail with what it says if it fails."""
    done = subprocess.run(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0, done.stdout


def buf(*arguments: str) -> None:
    """Run the buf of this environment, else of PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    program = shutil.which("buf", path=path)
    assert program, "buf is not installed: set up the development environment first"
    run(program, *arguments)


def events(*texts: str) -> list[events_pb2.RunEvent]:
    """Return one message event for each text, with the ids that an attempt gives."""
    return [
        events_pb2.RunEvent(id=f"1-{index}", message=events_pb2.MessageEvent(text=text))
        for index, text in enumerate(texts, 1)
    ]


def test_the_generated_code_is_fresh() -> None:
    run(sys.executable, "protos/generate.py", "--check")


def test_the_protos_pass_buf_lint() -> None:
    buf("lint")


def test_the_protos_are_formatted() -> None:
    buf("format", "--diff", "--exit-code")


def test_the_protos_import_nothing_of_third_parties() -> None:
    imports = [
        line
        for proto in (ROOT / "protos").rglob("*.proto")
        for line in proto.read_text(encoding="utf-8").splitlines()
        if line.startswith("import ")
    ]
    assert imports
    assert [
        line
        for line in imports
        if not line.startswith(('import "google/protobuf/', 'import "runwire/v1/'))
    ] == []


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_no_source_root_hides_the_others(root: str) -> None:
    """An `__init__.py` directly under one `runwire/` would end the namespace package."""
    assert not (ROOT / root / "runwire" / "__init__.py").exists()


def test_the_descriptors_carry_every_file_with_its_comments() -> None:
    image = ROOT / "generated" / "runwire" / "v1" / "descriptors.binpb"
    files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    assert {file.name for file in files} == {
        f"runwire/v1/{proto.name}" for proto in (ROOT / "protos" / "runwire" / "v1").glob("*.proto")
    }
    for file in files:
        assert any(location.leading_comments for location in file.source_code_info.location)


def test_serialized_stream_responses_concatenate_into_one() -> None:
    first, second = events("a", "b"), events("c")
    joined = b"".join(
        runs_pb2.RunStreamResponse(events=batch).SerializeToString() for batch in (first, second)
    )
    assert list(runs_pb2.RunStreamResponse.FromString(joined).events) == first + second


def test_a_join_reads_the_bytes_of_a_stream() -> None:
    sent = runs_pb2.RunStreamResponse(events=events("a", "b"))
    read = runs_pb2.JoinRunStreamResponse.FromString(sent.SerializeToString())
    assert read.events == sent.events
    assert read.SerializeToString() == sent.SerializeToString()


@pytest.mark.parametrize("response", [runs_pb2.RunStreamResponse, runs_pb2.JoinRunStreamResponse])
def test_stream_responses_have_no_field_but_events(
    response: type[runs_pb2.RunStreamResponse] | type[runs_pb2.JoinRunStreamResponse],
) -> None:
    assert [(field.name, field.number) for field in response.DESCRIPTOR.fields] == [("events", 1)]
