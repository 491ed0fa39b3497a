"""prefect.yaml as `serve` reads it, so that both ways to run have the same deployments. No Prefect here.

It is read strictly: Prefect itself passes over a key that it does not know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from flows.errors import UsageError

NAME = "prefect.yaml"
SHIPPED = Path(__file__).parent.parent / NAME
UNKNOWN = "extra_forbidden"
OURS = frozenset({"moodle", "commcare"})
"""The tags by which our deployments are known in Prefect."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(_Strict):
    """When a deployment runs by itself: a cron line in a time zone."""

    cron: str
    timezone: str
    slug: str
    active: bool = True

    @field_validator("timezone")
    @classmethod
    def known(cls, name: str) -> str:
        """Return a name that is a time zone; ValueError otherwise."""
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is not a time zone, as Africa/Nairobi is") from None
        return name


class Limit(_Strict):
    """How many runs of a deployment there may be at once, and what becomes of one more."""

    limit: int = Field(ge=1)
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"]


class Deployment(_Strict):
    """One deployment; `entrypoint` is file and function, as in flows/deployed.py:sync."""

    name: str = Field(min_length=1)
    entrypoint: str = Field(pattern=r"^[\w/]+\.py:\w+$")
    description: str = Field(min_length=1)
    tags: list[str]
    concurrency_limit: Limit
    work_pool: dict[str, Any]
    """Only for `prefect deploy`: what `serve` serves needs none."""
    schedules: list[Schedule]
    parameters: dict[str, Any]

    @field_validator("tags")
    @classmethod
    def ours(cls, tags: list[str]) -> list[str]:
        """Return tags that hold both of ours; ValueError otherwise."""
        if not set(tags) >= OURS:
            raise ValueError("the tags moodle and commcare are missing")
        return tags

    @property
    def module_entrypoint(self) -> str:
        """Return the entrypoint as a module path, which holds in whatever folder a run starts."""
        file, _, function = self.entrypoint.partition(":")
        return f"{file.removesuffix('.py').replace('/', '.')}.{function}"


class _File(_Strict):
    prefect_version: str = Field(alias="prefect-version")
    name: str
    deployments: list[Deployment] = Field(min_length=1)


def find_file() -> Path:
    """Return the prefect.yaml of this folder, else the one beside the program; UsageError when there is none."""
    for path in (Path(NAME).absolute(), SHIPPED):
        if path.exists():
            return path
    raise UsageError(f"There is no {NAME} in this folder: start it in the folder of the project.")


def read_deployments(path: Path) -> tuple[Deployment, ...]:
    """Return the deployments of a prefect.yaml; UsageError with the first thing that is wrong."""
    try:
        return tuple(_File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).deployments)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        first = min(found, key=lambda one: one["type"] != UNKNOWN)
        what = "there is no such key" if first["type"] == UNKNOWN else first["msg"]
        raise UsageError(f"{path.name} is not right at {'.'.join(map(str, first['loc']))}: {what}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path.name} cannot be read: {' '.join(str(error).split())}.") from None
