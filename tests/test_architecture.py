"""Four rooms, three arrows: who may import whom, and the habits that keep the house easy to live in.

What the code does not keep to stands in EXCEPTIONS, each with its reason; an entry that is no longer needed fails.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
ROOMS = ("adaptors", "flows", "mappings", "state")

EXCEPTIONS: dict[str, dict[str, str]] = {
    "functions": {
        "flows/cli_assignments.py:assignments_download": "each option of the command is one, none can go",
        "flows/cli_assignments.py:assignments_submissions": "each option of the command is one, none can go",
    },
    "asserts, prints, clocks": {
        "adaptors/serve.py": "waits for a thread of its own to answer on its port",
        "flows/progress.py": "the command's own lines, on standard error",
    },
}
"""Rule -> place -> why it is so. Keep it short: an exception is a debt or a decision, never a habit."""


@dataclass(frozen=True)
class Module:
    """One file of the code, read but not run."""

    path: str

    @cached_property
    def source(self) -> str:
        """Return its text."""
        return (HOUSE / self.path).read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """Return its syntax."""
        return ast.parse(self.source, self.path)

    @property
    def room(self) -> str:
        """Return the folder at the top."""
        return self.path.split("/")[0]

    @cached_property
    def imports(self) -> list[tuple[int, str]]:
        """Return line and full name of what is imported, wherever the import stands."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, name.name) for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{self.path}:{node.lineno} imports relatively"
                found.append((node.lineno, str(node.module)))
        return found


MODULES = [
    Module(path.relative_to(HOUSE).as_posix()) for room in ROOMS for path in sorted((HOUSE / room).rglob("*.py"))
]


def report(rule: str, broken: Iterator[tuple[str, str]]) -> list[str]:
    """Return the places that break a rule without being excepted, and exceptions that are no longer needed."""
    excepted = EXCEPTIONS.get(rule, {})
    found = [(place, what) for place, what in broken]
    used = {place for place, _ in found}
    news = [f"{place}: {what}" for place, what in found if place not in excepted]
    return news + [f"{place}: no longer an exception to '{rule}'" for place in excepted if place not in used]


def under(name: str, package: str) -> bool:
    """Tell whether a module name is a package or inside it."""
    return name == package or name.startswith(f"{package}.")


# --- who imports whom ---------------------------------------------------------------------------------------


def test_rooms_do_not_know_each_other() -> None:
    """Adaptors, mappings and state import none of the other rooms; the two systems never import each other."""

    def broken() -> Iterator[tuple[str, str]]:
        for module in MODULES:
            forbidden = [room for room in ROOMS if room != module.room] if module.room != "flows" else []
            for one, other in (("moodle", "commcare"), ("commcare", "moodle")):
                if module.path.startswith(f"adaptors/{one}/"):
                    forbidden.append(f"adaptors.{other}")
            for line, name in module.imports:
                if any(under(name, room) for room in forbidden):
                    yield module.path, f"line {line} imports {name}"

    assert [] == report("rooms", broken())


PREFECT = (
    *("flows/automations.py", "flows/deployed.py", "flows/deployed_answers.py", "flows/deployed_drain.py"),
    *("flows/deployed_assignments.py", "flows/deployed_feedback.py", "flows/deployed_match.py"),
    "flows/deployed_shards.py",
    *("flows/nudge_events.py", "flows/report.py", "flows/served.py"),
)

WHO_MAY: dict[str, Callable[[str], bool]] = {
    "sqlalchemy": lambda path: path.startswith("state/"),
    "alembic": lambda path: path.startswith("state/"),
    "httpx": lambda path: path.startswith("adaptors/"),
    "stamina": lambda path: path.startswith("adaptors/"),
    "uvicorn": lambda path: path in ("adaptors/serve.py", "flows/receive_server.py"),
    "starlette": lambda path: path == "flows/receive.py",
    "prefect": lambda path: path in PREFECT,
    "typer": lambda path: path.startswith("flows/"),
    "rich": lambda path: path.startswith("flows/"),
    "yaml": lambda path: (
        path.startswith("mappings/")
        or path in ("flows/deployments.py", "flows/project_file.py", "flows/schedule.py")
    ),
    "cronsim": lambda path: path == "flows/schedule.py",
    "prometheus_client": lambda path: path == "flows/metrics.py",
    "pygal": lambda path: path == "flows/charts.py",
    "fsspec": lambda path: path == "flows/assignments_folder.py",
    "phonenumbers": lambda path: path.startswith("mappings/"),
}


@pytest.mark.parametrize("package", WHO_MAY)
def test_each_library_has_its_room(package: str) -> None:
    """A library is imported by the room that it is for, and nowhere else."""
    broken = (
        (module.path, f"line {line} imports {name}")
        for module in MODULES
        for line, name in module.imports
        if under(name, package) and not WHO_MAY[package](module.path)
    )
    assert [] == report(f"only its room imports {package}", broken)


def test_no_fakes_in_a_real_run() -> None:
    """Fakes are imported by other fakes, and by what serves them: the sandbox and the demo."""
    allowed = ("flows/sandbox.py", "flows/demo.py")
    broken = (
        (module.path, f"line {line} imports {name}")
        for module in MODULES
        for line, name in module.imports
        if "fake" in name.rsplit(".", 1)[-1] and "fake" not in module.path and module.path not in allowed
    )
    assert [] == report("fakes", broken)


def test_checking_mappings_is_cheap(tmp_path: Path) -> None:
    """`mappings check` loads neither Prefect nor SQLAlchemy nor httpx: it has to start at once."""
    for file in (*(HOUSE / "mappings").glob("*.yaml"), HOUSE / "mappings" / "demo" / "project.yaml"):
        shutil.copy(file, tmp_path)
    program = (
        "import json, sys; from flows.cli import app\n"
        "code = app(['mappings', 'check', sys.argv[1]], standalone_mode=False)\n"
        "print('LOADED ' + json.dumps([code, sorted(sys.modules)]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    ran = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    code, loaded = json.loads(ran.stdout.split("LOADED ")[1])
    assert (0, True) == (code, "mappings.engine.load" in loaded), ran.stderr
    heavy = {"prefect", "sqlalchemy", "alembic", "httpx", "uvicorn", "fastapi", "asyncio"} & set(loaded)
    assert [] == report("mappings check", ((name, "is loaded") for name in sorted(heavy)))


# --- habits -------------------------------------------------------------------------------------------------


def test_module_has_a_docstring_and_a_fair_size() -> None:
    """Each module says why it exists, and none is over 400 lines."""

    def broken() -> Iterator[tuple[str, str]]:
        for module in MODULES:
            if module.source.strip() and not ast.get_docstring(module.tree):
                yield module.path, "has no docstring"
            if (lines := module.source.count("\n")) > 400:
                yield module.path, f"has {lines} lines"

    assert [] == report("modules", broken())


def test_everything_public_has_a_docstring() -> None:
    """Functions, classes and methods without _ have a docstring; of a property the getter has it."""

    def broken() -> Iterator[tuple[str, str]]:
        for module in MODULES:
            for owner, node in public(module.tree):
                if not ast.get_docstring(node):
                    yield f"{module.path}:{owner}{node.name}", "has no docstring"

    assert [] == report("docstrings", broken())


Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(tree: ast.Module) -> Iterator[tuple[str, Named]]:
    """Return what others can use of a module, with the class it is in."""
    for node in tree.body:
        if isinstance(node, Named) and not node.name.startswith("_"):
            yield "", node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                setter = any(ast.unparse(one).endswith(".setter") for one in getattr(inner, "decorator_list", ()))
                if isinstance(inner, Named) and not inner.name.startswith("_") and not setter:
                    yield f"{node.name}.", inner


def test_short_functions_with_few_parameters() -> None:
    """No function is over 60 lines or takes more than 8 parameters; half of them have under 12 lines."""
    lengths, broken = [], []
    for module in MODULES:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            lengths.append((node.end_lineno or node.lineno) - node.lineno + 1)
            if lengths[-1] > 60:
                broken.append((f"{module.path}:{node.name}", f"has {lengths[-1]} lines"))
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([one for one in taken if one.arg not in ("self", "cls")])
            if count > 8:
                broken.append((f"{module.path}:{node.name}", f"takes {count} parameters"))
    assert [] == report("functions", iter(broken))
    lengths.sort()
    assert (lengths[len(lengths) // 2], lengths[len(lengths) * 9 // 10]) <= (12, 35)


def test_no_assert_no_print_no_clock() -> None:
    """Code asserts nothing (python -O would drop it), prints only in the command, and is told what time it is."""
    clocks = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.monotonic"}
    clocks |= {"time.perf_counter", "time.sleep"}

    def broken() -> Iterator[tuple[str, str]]:
        for module in MODULES:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Assert):
                    yield module.path, f"line {node.lineno} asserts"
                if isinstance(node, ast.ImportFrom) and node.module == "time":
                    yield module.path, f"line {node.lineno} hides where it asks the time"
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func)
                if called == "print" and module.path != "flows/cli.py":
                    yield module.path, f"line {node.lineno} prints"
                is_clock = any(called == clock or called.endswith(f".{clock}") for clock in clocks)
                if is_clock and module.path != "flows/clock.py":
                    yield module.path, f"line {node.lineno} asks {called}"

    assert [] == report("asserts, prints, clocks", broken())


def test_names() -> None:
    """A module is one noun of the field: none is called after what it happens to hold."""
    vague = {
        "utils",
        "util",
        "helpers",
        "helper",
        "manager",
        "managers",
        "base",
        "common",
        "misc",
        "core",
        "types",
    }
    broken = (
        (module.path, "has a name that says nothing")
        for module in MODULES
        if vague & {part.removesuffix(".py") for part in Path(module.path).parts}
    )
    assert [] == report("names", broken)


def test_each_room_is_only_three_deep() -> None:
    """No folder of the code is more than three deep."""
    deep = ((module.path, "is too deep") for module in MODULES if module.path.count("/") > 3)
    assert [] == report("depth", deep)


def test_the_rules_bite(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that breaks the rules is named by each of them."""
    monkeypatch.setattr(sys.modules[__name__], "EXCEPTIONS", {})
    for source, rule, named in (
        ("from flows import sync", test_rooms_do_not_know_each_other, "line 1 imports flows"),
        ("import httpx", lambda: test_each_library_has_its_room("httpx"), "line 1 imports httpx"),
        ("import adaptors.moodle.fake_site", test_no_fakes_in_a_real_run, "line 1 imports adaptors.moodle.fake_"),
        ("x = 1", test_module_has_a_docstring_and_a_fair_size, "state/utils.py: has no docstring"),
        ("def f(): ...", test_everything_public_has_a_docstring, "state/utils.py:f: has no docstring"),
        ("def f(a,b,c,d,e,g,*,h,i,j): ...", test_short_functions_with_few_parameters, "takes 9 parameters"),
        ("assert True", test_no_assert_no_print_no_clock, "line 1 asserts"),
        ("print()", test_no_assert_no_print_no_clock, "line 1 prints"),
        ("datetime.datetime.now()", test_no_assert_no_print_no_clock, "line 1 asks datetime.datetime.now"),
        ("", test_names, "state/utils.py: has a name that says nothing"),
    ):
        bad = Module("state/utils.py")
        bad.__dict__.update(source=source)  # as if it stood in the file
        monkeypatch.setattr(sys.modules[__name__], "MODULES", [bad])
        with pytest.raises(AssertionError, match=named):
            rule()
    EXCEPTIONS["y"] = {"flows/x.py": "once upon a time"}
    assert ["flows/x.py: no longer an exception to 'y'"] == report("y", iter(()))


# --- dependencies -------------------------------------------------------------------------------------------

PROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]

PART_OF = {"prometheus_client": "prometheus-client", "pydantic_core": "pydantic"}
NOT_IMPORTED = {
    "fastapi": "pinned for Prefect's server, which newer ones break",
    "tzdata": "time zones where the system has none",
}
TOOLS = {
    "mypy": "run by make test",
    "ruff": "run by make test",
    "pytest-asyncio": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "types-pyyaml": "types for mypy",
}


def declared(requirements: list[str]) -> set[str]:
    """Return the names of requirements, in lower case."""
    return {re.split(r"[\s<>=!~;\[]", requirement)[0].lower() for requirement in requirements}


IMPORTED = re.compile(r"^ *(?:from|import) (\w+)", re.MULTILINE)
"""Read like this hundreds of files take no time; a line of a text that looks so is one of a test's own."""


def imported(paths: Iterator[Module] | list[Module]) -> set[str]:
    """Return the names of the packages that modules import and that are neither ours nor Python's."""
    return packages({name.split(".")[0] for module in paths for _, name in module.imports})


def packages(tops: set[str]) -> set[str]:
    """Return the names of the packages that such names belong to, without ours and Python's."""
    tops = tops - {*sys.stdlib_module_names, *ROOMS, "tests", "bench"}
    places = packages_distributions()
    names = {places.get(top, [f"an unknown package: {top}"])[0].lower() for top in tops}
    return {PART_OF.get(name, name) for name in names}


def test_dependencies_are_those_that_are_imported() -> None:
    """What the code imports is declared, and what is declared is imported or has a reason."""
    assert declared(PROJECT["dependencies"]) == imported(MODULES) | NOT_IMPORTED.keys()


def test_development_dependencies_are_used() -> None:
    """What tests and benches import is declared, and the tools of `make test` are there."""
    files = [path for folder in ("tests", "bench") for path in (HOUSE / folder).rglob("*.py")]
    needed = packages({top for path in files for top in IMPORTED.findall(path.read_text("utf-8"))})
    extra = declared(PROJECT["optional-dependencies"]["dev"])
    assert set() == needed - extra - declared(PROJECT["dependencies"])
    unused = ((name, "is not used") for name in extra - needed - TOOLS.keys())
    assert [] == report("development dependencies", unused)
