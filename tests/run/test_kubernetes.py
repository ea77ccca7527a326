"""The files of deploy/k8s: Kubernetes takes them, they fit together, and they run what there is."""

from __future__ import annotations

import configparser
import dataclasses
import importlib
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.urls import resolve

from config.embedded import commands
from core import jobs
from tests.core.test_settings import names_in_settings

ROOT = Path(__file__).resolve().parents[2]
K8S, POOLER = ROOT / "deploy" / "k8s", ROOT / "deploy" / "pgbouncer"
OVERLAYS = ("production", "staging")
COMPONENT = "app.kubernetes.io/component"

# The models stand on one module of a client that we have no use for; plain dataclasses are all they want of it.
_schema: Any = types.ModuleType("lightkube.core.schema")
_schema.DictMixin, _schema.dataclass, _schema.field = object, dataclasses.dataclass, dataclasses.field


def kustomization(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return found


def files(folder: Path) -> list[Path]:
    """What a kustomization builds from, with those that it names; every file beside it has to be among them."""
    named = kustomization(folder)["resources"]
    beside = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert beside <= set(named), folder
    found: list[Path] = []
    for name in named:
        path = (folder / name).resolve()
        found += files(path) if path.is_dir() else [path]
    return found


RESOURCES: list[dict[str, Any]] = [
    resource for path in files(K8S / "base") for resource in yaml.safe_load_all(path.read_text())
]


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in RESOURCES if one["kind"] in kinds}


def pods() -> dict[str, dict[str, Any]]:
    """The pod templates, by the name of what makes them."""
    found = {name: one["spec"]["template"] for name, one in of_kind("Deployment", "Job").items()}
    return found | {name: one["spec"]["jobTemplate"]["spec"]["template"] for name, one in of_kind("CronJob").items()}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    [found] = pod["spec"]["containers"]
    return dict(found)


# --- Kubernetes takes them --------------------------------------------------------------------------------------------


def model(resource: dict[str, Any]) -> type:
    """The class of Kubernetes' own schema for a resource."""
    group, _, version = resource["apiVersion"].rpartition("/")
    module = importlib.import_module(f"lightkube.models.{group.partition('.')[0] or 'core'}_{version}")
    return typing.cast("type", getattr(module, resource["kind"]))


def wrong(value: Any, kind: Any, where: str) -> list[str]:
    """What of a value Kubernetes would refuse: unknown and missing fields, values of another type."""
    if typing.get_origin(kind) is typing.Union:
        kinds = [one for one in typing.get_args(kind) if one is not type(None)]
        found = [wrong(value, one, where) for one in kinds]
        return min(found, key=len)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        fields = {field.metadata.get("json", field.name): field for field in dataclasses.fields(kind)}
        hints = typing.get_type_hints(kind)
        nothing = dataclasses.MISSING
        needed = {n for n, f in fields.items() if f.default is nothing and f.default_factory is nothing}
        found = [f"{where}: {name} is unknown" for name in value.keys() - fields.keys()]
        found += [f"{where}: {name} is missing" for name in needed - value.keys()]
        for name in value.keys() & fields.keys():
            found += wrong(value[name], hints[fields[name].name], f"{where}.{name}")
        return found
    if typing.get_origin(kind) in (list, dict):
        outer = typing.get_origin(kind)
        if not isinstance(value, outer):
            return [f"{where}: {value!r} is no {outer.__name__}"]
        inner = typing.get_args(kind)[-1]
        each = value.items() if isinstance(value, dict) else enumerate(value)
        return [problem for key, one in each for problem in wrong(one, inner, f"{where}.{key}")]
    if kind is Any or (isinstance(kind, type) and isinstance(value, kind)):
        return []
    return [f"{where}: {value!r} is no {kind}"]


@pytest.fixture
def _schema_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightkube.core", types.ModuleType("lightkube.core"))
    monkeypatch.setitem(sys.modules, "lightkube.core.schema", _schema)


@pytest.mark.usefixtures("_schema_there")
def test_every_resource_is_as_the_schema_says() -> None:
    for one in RESOURCES:
        name = f"{one['kind']} {one['metadata']['name']}"
        assert wrong(one, model(one), name) == []

    broken = of_kind("Deployment")["web"] | {"spec": {"replicas": "two", "template": {}, "selektor": {}}}
    assert wrong(broken, model(broken), "web") == [
        "web.spec: selektor is unknown",
        "web.spec: selector is missing",
        *sorted(wrong(broken["spec"]["replicas"], int, "web.spec.replicas")),
    ]


# --- They fit together ------------------------------------------------------------------------------------------------


def test_names_labels_and_ports_agree() -> None:
    made = pods()
    labels = {name: pod["metadata"]["labels"] for name, pod in made.items()}
    assert labels == {name: {COMPONENT: name} for name in made}
    for name, deployment in of_kind("Deployment").items():
        assert deployment["spec"]["selector"]["matchLabels"] == labels[name]
    ports = {
        name: {port["name"]: port["containerPort"] for port in container(pod).get("ports", ())}
        for name, pod in made.items()
    }
    for service in of_kind("Service").values():
        for port in service["spec"].get("ports", ()):
            assert port["targetPort"] in ports[service["spec"]["selector"][COMPONENT]]
    for budget in of_kind("PodDisruptionBudget").values():
        assert budget["spec"]["selector"]["matchLabels"][COMPONENT] in of_kind("Deployment")
    for scaler in of_kind("HorizontalPodAutoscaler").values():
        assert "replicas" not in of_kind("Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]["spec"]
    [ingress] = of_kind("Ingress").values()
    [rule] = ingress["spec"]["rules"]
    [path] = rule["http"]["paths"]
    assert path["backend"]["service"]["port"]["name"] in {
        port["name"] for port in of_kind("Service")[path["backend"]["service"]["name"]]["spec"]["ports"]
    }
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    for policy in of_kind("NetworkPolicy").values():
        concerned = policy["spec"]["podSelector"].get("matchLabels", {}).get(COMPONENT)
        for side in policy["spec"].get("ingress", ()):
            assert {port["port"] for port in side["ports"]} <= set(ports[concerned])
    for name, pod in made.items():
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container(pod)["volumeMounts"]} == volumes, name


def test_an_overlay_patches_and_names_what_is_there() -> None:
    images = {container(pod)["image"] for pod in pods().values()}
    for overlay in OVERLAYS:
        folder = K8S / "overlays" / overlay
        made = kustomization(folder)
        assert made["resources"] == ["../../base"]
        assert {image["name"] for image in made["images"]} == images
        for patch in made["patches"]:
            found = of_kind(patch["target"]["kind"])
            assert patch["target"].get("name") in {*found, None}
            for step in yaml.safe_load(patch["patch"]):
                for one in found.values() if "name" not in patch["target"] else [found[patch["target"]["name"]]]:
                    at: Any = one
                    for part in step["path"].strip("/").split("/"):
                        at = at[int(part) if isinstance(at, list) else part]  # raises where there is nothing
        given = re.findall(r"^([A-Z0-9_]+)=", (folder / "settings.env").read_text(), re.M)
        assert set(given) <= names_in_settings()
        assert not [name for name in given if re.search("SECRET|PASSWORD|TOKEN|_KEY$|DATABASE_URL", name)]


# --- They run what there is, safely -----------------------------------------------------------------------------------


def test_every_role_runs_and_beat_alone() -> None:
    args = {name: container(pod).get("args", []) for name, pod in pods().items()}

    assert {name: said[1] for name, said in args.items() if said[:1] == ["serve"]} == {
        name: name for name in ("web", *commands.WORKERS, "beat")
    }
    assert args["install"] == ["install"]
    assert args["backup"][0] == "backup"
    beat = of_kind("Deployment")["beat"]["spec"]
    assert (beat["replicas"], beat["strategy"]["type"]) == (1, "Recreate")
    assert not {"beat", "install"} & set(of_kind("HorizontalPodAutoscaler"))


def test_nobody_but_the_owners_commands_sees_the_owners_password() -> None:
    for name, pod in pods().items():
        secrets = [source["secretRef"]["name"] for source in container(pod).get("envFrom", ()) if "secretRef" in source]
        if name == "pgbouncer":
            assert secrets == []
        else:
            # The last one counts where both give a DATABASE_URL.
            assert secrets == ["atelier", "atelier-owner"] if name in ("install", "backup") else ["atelier"], name


def test_every_container_is_nobody_in_particular_and_has_bounds() -> None:
    for name, pod in pods().items():
        outer, inner = pod["spec"]["securityContext"], container(pod)["securityContext"]
        assert outer["runAsNonRoot"], name
        assert outer["runAsUser"] >= 10_000
        assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
        assert inner["readOnlyRootFilesystem"]
        assert inner["allowPrivilegeEscalation"] is False
        assert inner["capabilities"] == {"drop": ["ALL"]}
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert container(pod)["resources"]["limits"]["memory"]
        assert container(pod)["resources"]["requests"].keys() == {"cpu", "memory"}


def test_probes_ask_what_answers() -> None:
    web = container(pods()["web"])

    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert resolve(web[probe]["httpGet"]["path"])
    assert web["livenessProbe"]["httpGet"]["path"] == "/health/live"  # a database that is away restarts nobody
    assert web["readinessProbe"]["httpGet"]["path"] == "/health/ready"


def test_workers_are_scaled_by_a_lag_that_prometheus_records() -> None:
    [rules] = yaml.safe_load((K8S / "prometheus.rules.yaml").read_text())["groups"]
    recorded = {(rule["record"], rule["labels"]["worker"]): rule["expr"] for rule in rules["rules"]}
    adapter = yaml.safe_load((K8S / "prometheus-adapter.values.yaml").read_text())
    asked = {
        (metric["external"]["metric"]["name"], metric["external"]["metric"]["selector"]["matchLabels"]["worker"])
        for scaler in of_kind("HorizontalPodAutoscaler").values()
        for metric in scaler["spec"]["metrics"]
        if metric["type"] == "External"
    }

    assert asked == set(recorded) == {("atelier_work_lag_seconds", name) for name in ("worker", "worker-sync")}
    assert "atelier_work_lag_seconds" in adapter["rules"]["external"][0]["seriesQuery"]
    for (_, worker), expression in recorded.items():
        [queues] = re.findall(r'queue=~?"([a-z_|]+)"', expression)
        assert set(queues.split("|")) == set(commands.WORKERS[worker][0])
    assert {queue for queues, _ in commands.WORKERS.values() for queue in queues} == set(jobs.QUEUES)


def test_the_pooler_gives_a_connection_for_each_transaction() -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read(POOLER / "pgbouncer.ini")

    assert config["pgbouncer"]["pool_mode"] == "transaction"
    assert config["databases"]["*"].split()[0] == "host=postgres"
    assert "postgres" in of_kind("Service")
    [generated] = kustomization(POOLER)["configMapGenerator"]
    assert generated == {"name": "pgbouncer", "files": ["pgbouncer.ini"]}
