"""Write what is made from the protos, generated/ and docs/api/, or tell whether it is fresh.

`python protos/generate.py` writes; with `--check` nothing is written, and the exit code is 1 if any
file is missing, left over or different. Everything comes from grpcio-tools and mypy-protobuf of the
running environment, so that their pinned versions give the same bytes everywhere.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from reference import reference
from service_config import service_configs

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGE = Path("runwire/v1")
GENERATED = Path("generated") / PACKAGE
REFERENCE = Path("docs/api")


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only tell whether it is fresh")
    check = parser.parse_args().check
    stale = []
    with tempfile.TemporaryDirectory() as temporary:
        for directory, fresh in generate(Path(temporary)).items():
            stale += [f"{directory}/{line}" for line in differences(fresh, ROOT / directory)]
            if not check:
                replace(fresh, ROOT / directory)
    if not check or not stale:
        return 0
    print(*stale, "what is generated is stale: run `python protos/generate.py`", sep="\n")
    return 1


def generate(output: Path) -> dict[Path, dict[str, bytes]]:
    """Generate everything, with the empty directory `output` for what a compiler writes; return
    directories of the repository, each with the names and contents of its files."""
    package = output / PACKAGE
    compile_protos(output)
    files = FileDescriptorSet.FromString((package / "descriptors.binpb").read_bytes())
    return {
        GENERATED: {**contents(package), **service_configs(files)},
        REFERENCE: reference(files),
    }


def compile_protos(output: Path) -> None:
    """Write the package's code into the empty directory `output`."""
    package = output / PACKAGE
    package.mkdir(parents=True)
    protos = sorted((PROTOS / PACKAGE).glob("*.proto"))
    # Messages: protoc's own stubs, whose constructors take datetimes and dicts as the runtime does.
    # The descriptors keep their comments, so that reflection can answer with documentation.
    protoc(
        f"--python_out={output}",
        f"--pyi_out={output}",
        f"--descriptor_set_out={package / 'descriptors.binpb'}",
        "--include_source_info",
        *map(str, protos),
    )
    # Services only: any other file would get an empty _pb2_grpc.py.
    protoc(
        f"--plugin=protoc-gen-mypy_grpc={executable('protoc-gen-mypy_grpc')}",
        f"--grpc_python_out={output}",
        f"--mypy_grpc_out=only_async,quiet:{output}",
        *(str(proto) for proto in protos if "\nservice " in proto.read_text(encoding="utf-8")),
    )
    (package / "py.typed").touch()


def protoc(*arguments: str) -> None:
    """Run grpcio-tools' compiler on the protos; raise CalledProcessError if it fails."""
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *arguments], check=True
    )


def executable(name: str) -> str:
    """Return the path of a program of this environment, else of PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise SystemExit(f"{name} is not installed: set up the development environment first")
    return found


def differences(wanted: dict[str, bytes], committed: Path) -> list[str]:
    """Return a line for each file of the directory `committed` that is not as it should be."""
    present = contents(committed)
    lines = [f"{name}: missing" for name in wanted.keys() - present.keys()]
    lines += [f"{name}: left over" for name in present.keys() - wanted.keys()]
    lines += [
        f"{name}: differs"
        for name in wanted.keys() & present.keys()
        if wanted[name] != present[name]
    ]
    return sorted(lines)


def contents(directory: Path) -> dict[str, bytes]:
    """Return the files of a directory by name; bytecode lies in a directory and does not count."""
    if not directory.is_dir():
        return {}
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file()}


def replace(wanted: dict[str, bytes], committed: Path) -> None:
    """Make the directory `committed` hold what is wanted; touch only files that differ."""
    committed.mkdir(parents=True, exist_ok=True)
    present = contents(committed)
    for name in present.keys() - wanted.keys():
        (committed / name).unlink()
    for name, content in wanted.items():
        if present.get(name) != content:
            (committed / name).write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
