"""prefect.yaml: nothing in it that Prefect passes over or that does not fit its flow; both ways to run alike."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import load_flow_from_entrypoint
from pydantic import BaseModel

from flows.approve import TAKES
from flows.deployments import OURS, SHIPPED, find_file, read_deployments
from flows.errors import UsageError
from flows.need import ASKS_FOR
from flows.served import runner_deployment

HOUSE = Path(__file__).parent.parent.parent
FILE: dict[str, Any] = yaml.safe_load((HOUSE / "prefect.yaml").read_text())
DEPLOYMENTS: list[dict[str, Any]] = FILE["deployments"]
SPECS = read_deployments(SHIPPED)
REQUIRED: dict[str, dict[str, Any]] = {
    "approve": {"kind": "leavers"},
    "merge": {"old": 3, "new": 4},
    "assignments-download": {"course": "CHW-101", "assignment": "Home visits", "target": "work"},
    "assignments-feedback": {"course": "CHW-101", "assignment": "Home visits", "file": "feedback.csv"},
}
"""Deployment -> parameters that a person has to fill in, as he or she might."""
each = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def keys(model: type[BaseModel]) -> set[str]:
    """Return the keys that Prefect reads; it passes silently over all others."""
    return {field.alias or name for name, field in model.model_fields.items()}


def flow_of(entrypoint: str) -> Flow[Any, Any]:
    """Return the flow of a deployment."""
    return load_flow_from_entrypoint(str(HOUSE / entrypoint), use_placeholder_flow=False)


# --- the file -----------------------------------------------------------------------------------------------


def test_prefect_knows_every_key() -> None:
    """No key in prefect.yaml is one that Prefect would silently ignore."""
    PrefectYamlModel.model_validate(FILE)
    assert FILE.keys() <= keys(PrefectYamlModel)
    for deployment in DEPLOYMENTS:
        assert deployment.keys() <= keys(DeploymentConfig)
        assert deployment["work_pool"].keys() <= keys(WorkPoolConfig)
        assert deployment["concurrency_limit"].keys() <= keys(ConcurrencyLimitSpec)
        for schedule in deployment["schedules"]:
            assert schedule.keys() <= keys(RawScheduleConfig)


def test_schedules_are_valid_and_in_one_time_zone() -> None:
    """One wrong schedule and Prefect would skip the whole file; the zone is written once."""
    schedules = [schedule for deployment in DEPLOYMENTS for schedule in deployment["schedules"]]
    assert {"every-minute", "hourly", "daily", "weekly"} == {schedule["slug"] for schedule in schedules}
    for schedule in schedules:
        RawScheduleConfig.model_validate(schedule)
        CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    assert 1 == (HOUSE / "prefect.yaml").read_text().count("timezone: &zone ")
    assert {"UTC"} == {schedule["timezone"] for schedule in schedules}


def test_every_flow_has_a_deployment() -> None:
    """Each flow of the deployed modules can be started in the UI, under its own name."""
    flows = {
        found.name
        for file in (HOUSE / "flows").glob("deployed*.py")
        for found in vars(import_module(f"flows.{file.stem}")).values()
        if isinstance(found, Flow)
    }
    assert flows == {spec.name for spec in SPECS} == {flow_of(spec.entrypoint).name for spec in SPECS}


@each
def test_parameters_fit_the_flow(spec: Any) -> None:
    """Every parameter of the file is one of the flow's and has its type; none that has a default is missing."""
    flow, required = flow_of(spec.entrypoint), REQUIRED.get(spec.name, {})
    assert flow.validate_parameters({**spec.parameters, **required}) == {**spec.parameters, **required}
    assert flow.parameters.properties.keys() == {**spec.parameters, **required}.keys()
    assert {*flow.parameters.required} == required.keys()
    defaults = {name: one.default for name, one in inspect.signature(flow.fn).parameters.items()}
    assert spec.parameters == {name: defaults[name] for name in spec.parameters}


@each
def test_forms_are_plain_and_described(spec: Any) -> None:
    """Types are plain (no None, no date, no secret), and each field says what it is for in a sentence."""
    for shown in flow_of(spec.entrypoint).parameters.properties.values():
        assert shown["type"] in ("array", "boolean", "integer", "string")
        assert shown["description"].endswith(".")
        assert shown.get("format") is None
    assert len(spec.description) > 40
    assert OURS <= set(spec.tags)


def test_kinds_are_a_list_to_choose_from() -> None:
    """The form offers each kind that a run may ask about, and takes the fields that the run names."""
    kind = flow_of("flows/deployed_answers.py:approve").parameters.properties["kind"]
    assert [*TAKES] == kind["enum"]
    reviewed = flow_of("flows/deployed_match.py:match_review").parameters.properties.keys()
    for asked, fields in ASKS_FOR.items():
        assert {*fields} <= ({"kind", *TAKES[asked]} if asked in TAKES else reviewed)


@each
def test_flow_keeps_nothing(spec: Any) -> None:
    """Results are not stored and prints are not logged, whatever the machine's settings say."""
    flow = flow_of(spec.entrypoint)
    assert (False, False) == (flow.persist_result, flow.log_prints)


def test_one_version_of_prefect() -> None:
    """prefect.yaml, pyproject.toml and what is installed name the same version: client and server must agree."""
    assert version("prefect") == FILE["prefect-version"]
    assert f'"prefect=={version("prefect")}"' in (HOUSE / "pyproject.toml").read_text()


# --- as `serve` takes it ------------------------------------------------------------------------------------


@each
def test_served_like_deployed(spec: Any) -> None:
    """What `serve` registers has what the file says: schedules, limit, parameters, words."""
    (raw,) = [one for one in DEPLOYMENTS if one["name"] == spec.name]
    made = runner_deployment(spec)
    assert (raw["name"], raw["description"], raw["tags"]) == (made.name, made.description, made.tags)
    assert (raw["parameters"], False) == (made.parameters, made.paused)
    assert raw["entrypoint"] == made.entrypoint.replace(".", "/").rpartition("/")[0] + f".py:{flow_name(made)}"
    assert raw["concurrency_limit"] == {
        "limit": made.concurrency_limit,
        "collision_strategy": made.concurrency_options.collision_strategy.value,
    }
    schedules = [
        {
            "cron": each.schedule.cron,
            "timezone": each.schedule.timezone,
            "slug": each.slug,
            "active": each.active,
        }
        for each in made.schedules or []
    ]
    assert raw["schedules"] == schedules


def flow_name(made: Any) -> str:
    """Return the function of a module entrypoint."""
    return str(made.entrypoint.rpartition(".")[2])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "schedules:",
            "shedules:",
            "prefect.yaml is not right at deployments.0.shedules: there is no such key",
        ),
        (
            "&zone UTC",
            "&zone Nairobi",
            "deployments.0.schedules.0.timezone: Value error, 'Nairobi' is not a time zone",
        ),
        (
            "limit: 1,",
            "limit: 0,",
            "concurrency_limit.limit: Input should be greater than or equal to 1",
        ),
        ("[moodle, commcare]", "[moodle]", "the tags moodle and commcare are missing"),
        ("deployments:", "deployments: [", "prefect.yaml cannot be read: "),
        ("flows/deployed.py:sync", "deployed", "at deployments.0.entrypoint: String should match pattern"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    """The file, the place in it and what is wrong there; Prefect itself would pass over most of it."""
    file = tmp_path / "prefect.yaml"
    file.write_text((HOUSE / "prefect.yaml").read_text().replace(old, new))
    with pytest.raises(UsageError) as refused:
        read_deployments(file)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_file_of_this_folder_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project has its own times; without a file of its own those of the program hold."""
    monkeypatch.chdir(tmp_path)
    assert find_file() == SHIPPED
    (tmp_path / "prefect.yaml").write_text("")
    assert tmp_path / "prefect.yaml" == find_file()
