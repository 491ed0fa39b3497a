"""Transforms of a project's own: from the file and the packages that project.yaml names, and from nothing else.

They are code and run with all rights of the program, so a project can also be checked without loading them. What
goes wrong in one while a record is mapped is a problem of that value, never the end of a run.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path, PurePosixPath
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mappings.engine.problems import quoted, suggestion
from mappings.engine.signatures import Signature, SignatureError, read_signature
from mappings.engine.texts import Invalid, to_text
from mappings.engine.transform import TRANSFORMS, Transform, Value

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "moodle_commcare.transforms"
"""The group of entry points under which an installed package offers transforms."""

_MARK: Final = "_example_of_transform"
_DEVELOPER: Final = "show this to the developer who wrote it"

Function = TypeVar("Function", bound=Callable[..., Any])


def transform(*, example: tuple[Any, ...]) -> Callable[[Function], Function]:
    """Offer a function as a transform; `example` is (value, result), or (settings, value, result).

    The function takes one value (str, float or list[str]) and its settings by keyword (str, int, float, Literal).
    It returns a str, a number, a list[str] or None for nothing, and raises ValueError for what it cannot use.
    """

    def mark(function: Function) -> Function:
        setattr(function, _MARK, example)
        return function

    return mark


@dataclass(frozen=True)
class PluginFault:
    """What is wrong with a plug-in: on a `line` of a `file`, or (None) where project.yaml names it."""

    file: Path | None
    line: int
    sentence: str
    remedy: str = _DEVELOPER


class PluginError(Exception):
    """A plug-in that cannot be used."""

    def __init__(self, *faults: PluginFault) -> None:
        super().__init__(faults)
        self.faults = faults


def from_file(folder: Path, name: str) -> list[Transform]:
    """Run a file of the mappings folder and return its transforms; PluginError with what is wrong with it."""
    file = plugin_file(folder, name)
    source = file.read_bytes()
    module = ModuleType(f"transforms_{hashlib.sha256(bytes(file.absolute())).hexdigest()[:12]}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # for the time it runs: dataclasses look themselves up there
    try:
        exec(compile(source, str(file), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - named by project.yaml
    except SyntaxError as error:
        raise PluginError(PluginFault(file, error.lineno or 1, f"this is not valid Python: {error.msg}")) from None
    except (Exception, SystemExit) as error:
        raise PluginError(PluginFault(file, _line_in(file, error), _why(error))) from None
    finally:
        del sys.modules[module.__name__]
    return _collected(module, file, lambda _: hashlib.sha256(source).hexdigest())


def plugin_file(folder: Path, name: str) -> Path:
    """Return where a file of transforms is, without running it; PluginError when it is not in the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(letter in name for letter in "\\:\0"):
        raise PluginError(
            PluginFault(None, 0, f"{quoted(name)} is not in this folder", "put it beside project.yaml")
        )
    file = folder / name
    if not file.is_file():
        remedy = suggestion(name, [other.name for other in folder.glob("*.py")], none="put it beside project.yaml")
        raise PluginError(PluginFault(None, 0, f"there is no file {quoted(name)}", remedy))
    return file


def from_package(name: str) -> list[Transform]:
    """Return the transforms that an installed package offers under a name; PluginError when there is none."""
    from importlib.metadata import entry_points  # takes a while, and hardly any project has plug-ins

    offered = entry_points(group=GROUP)
    found = [point for point in offered if point.name == name]
    if len(found) != 1:
        count = "several packages offer" if found else "no installed package offers"
        remedy = suggestion(name, {point.name for point in offered} - {name}, none="install the package first")
        raise PluginError(PluginFault(None, 0, f"{count} transforms called {quoted(name)}", remedy))
    try:
        module = found[0].load()
    except (Exception, SystemExit) as error:
        sentence = f"the plug-in {quoted(name)} could not be loaded: {_why(error)}"
        raise PluginError(PluginFault(None, 0, sentence)) from None
    if not isinstance(module, ModuleType):
        sentence = f"the plug-in {quoted(name)} does not name a module"
        raise PluginError(PluginFault(None, 0, sentence))
    return _collected(module, Path(module.__file__ or ""), lambda function: _digest(found[0], function))


def _digest(point: EntryPoint, function: FunctionType) -> str:
    """Return a hash of a package's version and of the file that holds the function."""
    version = point.dist.version if point.dist is not None else ""
    source = Path(function.__code__.co_filename).read_bytes()
    return hashlib.sha256(version.encode() + b"\0" + source).hexdigest()


def _line_in(file: Path, error: BaseException) -> int:
    """Return the line of a file on which an error came up."""
    line, step = 1, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == str(file):
            line = step.tb_lineno
        step = step.tb_next
    return line


def _why(error: BaseException) -> str:
    """Return in a few words why a plug-in could not be loaded."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"it needs the package {quoted(error.name)}, which is not installed here"
    words = " ".join(str(error).split())
    return f"it stops here while it is loaded{f': {words[:100]}' if words else ''}"


def _collected(module: ModuleType, file: Path, digest: Callable[[FunctionType], str]) -> list[Transform]:
    """Return a module's marked functions as transforms; PluginError with the faults of all of them."""
    made, faults = [], []
    for name, function in _marked(module):
        try:
            made.append(_made(name, function, digest(function)))
        except SignatureError as error:
            faults.append(PluginFault(file, function.__code__.co_firstlineno, str(error)))
    if not made and not faults:
        remedy = "write @transform(example=(.., ..)) above each function that mappings may use"
        faults = [PluginFault(file, 1, "there is no transform in this file", remedy)]
    if faults:
        raise PluginError(*faults)
    return made


def _marked(module: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    for name, thing in vars(module).items():
        if isinstance(thing, FunctionType) and hasattr(thing, _MARK) and not name.startswith("_"):
            yield name, thing


def _made(name: str, function: FunctionType, digest: str) -> Transform:
    """Return one function as a transform, its example tried; SignatureError when something is wrong with it."""
    if name in TRANSFORMS:
        raise SignatureError(f"{quoted(name)} is a transform of the language already: give yours another name")
    signature = read_signature(name, function)
    example = getattr(function, _MARK)
    if not isinstance(example, tuple) or len(example) not in (2, 3):
        raise SignatureError(f"the example of {quoted(name)} is not (value, result)")
    settings, value, expected = example if len(example) == 3 else (None, *example)
    made = Transform(
        name=name,
        function=_guarded(name, function, signature),
        help=" ".join((inspect.getdoc(function) or "").split("\n\n")[0].split()),
        example=(settings, value, expected),
        takes=signature.takes,
        gives=signature.gives,
        settings=signature.settings,
        open_settings=False,
        needs=frozenset(),
        refusal=None,
        table="",
        digest=digest,
    )
    _try(made, function, signature)
    return made


def _guarded(name: str, function: FunctionType, signature: Signature) -> Callable[..., Value]:
    """Return a function that turns whatever goes wrong inside a plug-in into an unusable value."""

    def guarded(value: object, **settings: Any) -> Value:
        taken = signature.read(value)
        try:
            return _plain(function(taken, **settings))
        except (Exception, SystemExit):
            raise Invalid("transform_failed", name) from None

    return guarded


def _plain(result: object) -> Value:
    """Return a result that the language can go on with; TypeError for any other."""
    if isinstance(result, list | tuple):
        return [to_text(entry) for entry in result]
    if result is None or isinstance(result, str | int | float | Decimal):
        return result
    raise TypeError


def _try(made: Transform, function: FunctionType, signature: Signature) -> None:
    """Run a transform's example; SignatureError when it does not hold."""
    settings, value, expected = made.example
    if not isinstance(settings, Mapping | None):
        raise SignatureError(f"the settings in the example of {quoted(made.name)} are not {{name: value}}")
    try:
        found = _plain(function(signature.read(value), **(settings or {})))
    except (Exception, SystemExit) as error:
        words = " ".join(str(error).split())[:100]
        raise SignatureError(
            f"the example of {quoted(made.name)} stops: {words or 'no reason is given'}"
        ) from None
    if found != expected:
        sentence = f"the example of {quoted(made.name)} does not hold: it says {quoted(str(expected))}"
        raise SignatureError(f"{sentence}, the function makes {quoted(str(found))}")
