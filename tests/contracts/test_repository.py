"""What the repository promises about itself: its layout, its two commands, its reasons."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("generated", "server", "client")


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [Path(name) for name in listing.stdout.split("\0") if name]


@pytest.mark.parametrize(
    "name",
    [
        ".ci/run",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Dockerfile",
        "LICENSE",
        "Makefile",
        "README.md",
        "benchmarks",
        "buf.yaml",
        "client/runwire/client",
        "deploy/kubernetes",
        "docs/architecture.md",
        "docs/decisions",
        "examples/langgraph.json",
        "generated/runwire/v1",
        "protos/runwire/v1",
        "pyproject.toml",
        "server/runwire/server",
        "tests",
    ],
)
def test_the_layout_is_there(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_no_root_closes_the_namespace(root: str) -> None:
    assert not (ROOT / root / "runwire" / "__init__.py").exists(), (
        "it would hide the other two roots of the namespace package"
    )


@pytest.mark.parametrize("package", ["runwire/v1", "runwire/server", "runwire/client"])
def test_every_package_is_typed(package: str) -> None:
    assert any((ROOT / root / package / "py.typed").exists() for root in SOURCE_ROOTS)


def test_no_interpreter_is_pinned() -> None:
    """uv would try to fetch exactly that one instead of using what the machine has."""
    assert ".python-version" not in {path.name for path in tracked_files()}


def test_nothing_built_or_stored_is_tracked() -> None:
    unwanted = {".runwire", ".venv", "__pycache__", "dist", "node_modules"}
    assert [path for path in tracked_files() if unwanted.intersection(path.parts)] == []


@pytest.mark.parametrize("command", ["make run", "make test"])
def test_the_readme_shows_both_commands(command: str) -> None:
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "verb",
    ["setup", "run", "demo", "test", "chaos", "bench", "check", "protos", "sync", "format", "help"],
)
def test_every_verb_is_in_the_makefile_with_its_sentence(verb: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{verb}:.*## \w", makefile, re.MULTILINE)


def test_those_who_contribute_are_told_of_every_verb() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^([a-z]+):.*## \w", makefile, re.MULTILINE)) - {"help"}
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `make ([a-z]+)` \|", told, re.MULTILINE)) == verbs


def headings(page: Path) -> set[str]:
    """Return the names by which GitHub knows a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_between_pages_lead_somewhere() -> None:
    pages = [path for path in tracked_files() if path.suffix == ".md"]
    dead = []
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            path, _, place = link.partition("#")
            if "://" in path or path.startswith("mailto:"):
                continue
            target = (ROOT / page.parent / path).resolve() if path else ROOT / page
            known = headings(target) if place and target.suffix == ".md" and target.exists() else ()
            if not target.exists() or (place and place not in known):
                dead.append(f"{page}: {link}")
    assert dead == []


def test_every_ignored_rule_carries_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    ignored = [*lint["ignore"], *(c for codes in lint["per-file-ignores"].values() for c in codes)]

    written = text[text.index("\nignore = [") : text.index("[tool.ruff.lint.flake8-tidy-imports]")]
    listed = re.findall(r'^ +"([A-Z]+[0-9]+)",', written, re.MULTILINE)
    without_reason = re.findall(r'^ +"([A-Z]+[0-9]+)",\s*$', written, re.MULTILINE)

    assert without_reason == []
    assert sorted(listed) == sorted(ignored), "each ignored rule stands on a line of its own"


def test_generators_are_pinned_because_their_output_is_compared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {
        requirement.split("==")[0]
        for group in [project["dependencies"], *project["optional-dependencies"].values()]
        for requirement in group
        if "==" in requirement.partition(";")[0]
    }
    assert pinned == {"grpcio-tools", "mypy-protobuf"}


def test_every_decision_is_in_the_list() -> None:
    decisions = ROOT / "docs" / "decisions"
    index = (decisions / "README.md").read_text(encoding="utf-8")
    pages = sorted(page.name for page in decisions.glob("[0-9]*.md"))
    assert [page for page in pages if f"({page})" not in index] == []
