"""The examples in deploy/: what they say to Runwire is what Runwire takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runwire.server.exits import CLOSE_SECONDS
from runwire.server.rpc.health import LIVENESS
from runwire.server.rpc.server import SERVICES
from runwire.server.settings import (
    Settings,
    WorkerSettings,
    read_settings,
    split_address,
    unknown_variables,
    variables_of,
)

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())


def documents() -> Iterator[dict[str, Any]]:
    """Return everything that is applied to a cluster."""
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(file.read_text())


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in documents() if document["kind"] == kind]


def name_of(document: dict[str, Any]) -> str:
    return str(document["metadata"]["name"])


DEPLOYMENTS = [pytest.param(each, id=name_of(each)) for each in of_kind("Deployment")]


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(only)


def environment(deployment: dict[str, Any]) -> dict[str, str]:
    """Return a container's environment, what is secret too."""
    secrets = {name_of(each): each["stringData"] for each in of_kind("Secret")}
    values = {}
    for variable in container(deployment)["env"]:
        source = variable.get("valueFrom", {}).get("secretKeyRef")
        given = secrets[source["name"]][source["key"]] if source else variable["value"]
        assert isinstance(given, str), f"{variable['name']} must be quoted"
        values[variable["name"]] = given
    return values


def settings_of(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Settings | WorkerSettings:
    """Return the settings with which a container starts."""
    program, command, *flags = container(deployment)["command"]
    assert program == "runwire"
    for name, field in Settings.model_fields.items():
        for variable in variables_of(name, field):
            monkeypatch.delenv(variable, raising=False)
    given = environment(deployment)
    assert unknown_variables(given) == []
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    switches = {flag.removeprefix("--no-"): False for flag in flags}
    return read_settings({"serve": Settings, "worker": WorkerSettings}[command], switches)


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_container_starts_with_what_it_is_told(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(deployment, monkeypatch)

    assert not settings.is_embedded
    assert not settings.is_loopback
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels["takes-calls"] == str(settings.takes_calls).lower()
    assert labels.items() >= deployment["spec"]["selector"]["matchLabels"].items()
    assert container(deployment)["ports"] == [
        {"name": "grpc", "containerPort": split_address(settings.bind)[1]}
    ]


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_probes_ask_for_what_the_server_answers(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(deployment, monkeypatch)
    known = {"", LIVENESS, *(SERVICES if settings.takes_calls else ())}

    probes = {name: container(deployment)[f"{name}Probe"]["grpc"] for name in PROBES}
    assert {probe["port"] for probe in probes.values()} == {split_address(settings.bind)[1]}
    services = {name: probe.get("service", "") for name, probe in probes.items()}
    assert services == PROBES
    assert set(services.values()) <= known


PROBES = {"startup": LIVENESS, "readiness": "", "liveness": LIVENESS}


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_container_is_not_killed_while_it_drains(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(deployment, monkeypatch)
    before = container(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = before + settings.drain_grace.total_seconds() + CLOSE_SECONDS

    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > needed


def test_calls_and_policies_reach_the_pods_that_are_meant() -> None:
    labels = {
        name_of(each): each["spec"]["template"]["metadata"]["labels"]
        for each in of_kind("Deployment")
    }

    def selected(selector: dict[str, str]) -> set[str]:
        return {name for name, own in labels.items() if own.items() >= selector.items()}

    (service,) = of_kind("Service")
    (policy,) = of_kind("NetworkPolicy")
    (budget,) = of_kind("PodDisruptionBudget")
    assert selected(service["spec"]["selector"]) == {"runwire", "runwire-servers"}
    assert selected(policy["spec"]["podSelector"]["matchLabels"]) == set(labels)
    assert selected(budget["spec"]["selector"]["matchLabels"]) == set(labels)
    assert service["spec"]["ports"][0]["targetPort"] == "grpc"


def test_compose_starts_two_servers_that_have_time_to_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, database = COMPOSE["services"]["runwire"], COMPOSE["services"]["postgres"]
    given: dict[str, str] = server["environment"]
    assert unknown_variables(given) == []
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    settings = read_settings(Settings, {"bind": "0.0.0.0:50051"})

    assert not settings.is_embedded
    user, password, name = (
        database["environment"][f"POSTGRES_{part}"] for part in ("USER", "PASSWORD", "DB")
    )
    assert settings.database_url == f"postgresql://{user}:{password}@postgres/{name}"
    assert server["deploy"]["replicas"] == 2
    assert server["ports"] == ["127.0.0.1:50051-50052:50051"], "one port of this machine for each"
    needed = settings.drain_grace.total_seconds() + CLOSE_SECONDS
    assert float(server["stop_grace_period"].removesuffix("s")) > needed
    assert server["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert database["healthcheck"]["test"][1] == "pg_isready"


def test_paths_in_compose_are_there() -> None:
    here = DEPLOY / "compose"
    server = COMPOSE["services"]["runwire"]

    assert (here / server["build"] / "Dockerfile").exists()
    assert (here / server["volumes"][0].partition(":")[0] / "langgraph.json").exists()
