"""From the file to a Config."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gateway.config.checks import check_sections
from gateway.config.mistakes import ConfigErrors, Mistake, Problem, place_problems
from gateway.config.model import DEFAULT_SPOOL, Config
from gateway.config.text_file import TextUnfit, read_octets, read_text
from gateway.config.valid_sections import ValidSections
from gateway.model.place import KeyPath, Place, locate
from gateway.model.value import Value, replace

_MOST_OCTETS = 65_536


class Resolved(Value):
    """The tree with its references replaced."""

    tree: dict[str, Any]
    problems: tuple[Problem, ...]
    """References that lead nowhere; the tree has an empty string in place of each."""
    brought: dict[KeyPath, tuple[str, str]]
    """Each resolved reference, and its value."""

    def hide(self, problem: Problem) -> Problem:
        """The problem without the value of a reference, which may be a secret."""
        reference, value = self.brought.get(problem.path, ("", ""))
        return replace(problem, problem=problem.problem.replace(f'"{value}"', reference)) if reference else problem


def resolve_references(tree: dict[str, Any], environ: Mapping[str, str], directory: Path) -> Resolved:
    """Follow every reference in the tree. A relative path starts from `directory`."""
    problems: list[Problem] = []
    brought: dict[KeyPath, tuple[str, str]] = {}

    def walk(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, number)) for number, item in enumerate(value)]
        if not isinstance(value, str) or not value.startswith(("env:", "file:")):
            return value
        found = _follow(value, path, environ, directory)
        if isinstance(found, Problem):
            problems.append(found)
            return ""
        brought[path] = value, found
        return found

    resolved = {key: walk(item, (key,)) for key, item in tree.items()}
    return Resolved(resolved, tuple(problems), brought)


def _follow(reference: str, path: KeyPath, environ: Mapping[str, str], directory: Path) -> str | Problem:
    kind, _, name = reference.partition(":")
    if kind == "env":
        missing = Problem(path, f"environment variable {name or '(no name)'} is not set", f"set {name}")
        return environ.get(name, missing)
    file = directory / name
    content = _read_reference(file)
    if isinstance(content, str):
        return content
    return Problem(path, f"cannot read {file}: {content}", "mount or create it")


def _read_reference(file: Path) -> str | Exception:
    """The content without its final newlines, or the reason why there is none."""
    try:
        return read_octets(file, _MOST_OCTETS).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return ValueError("not UTF-8 text")
    except TextUnfit as error:
        return ValueError(
            error.problem.removeprefix(f"cannot read {file}: ").removeprefix("cannot read it: ").removeprefix("is ")
        )


_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

_MOST_TOLD = 200
"""Mistakes that are reported for one file: a file of another kind would otherwise fill the screen."""


def load(path: Path, environ: Mapping[str, str], check_maps: bool = True) -> Config:
    """Read the configuration. Raises ConfigErrors with the mistakes of the file, of the references in it and, if
    requested, of the address maps that it names. A check across settings sees only valid ones. Relative paths start
    from the file's directory."""
    text = _read(path)
    directory = path.absolute().parent
    resolved = resolve_references(_parse(path, text), environ, directory)
    sections = ValidSections(resolved.tree, directory)
    problems = _find_problems(resolved, sections, locate(text), check_maps)
    if problems:
        raise place_problems(problems, path, locate(text))
    return sections.config


def _find_problems(
    resolved: Resolved, sections: ValidSections, places: dict[KeyPath, Place], check_maps: bool
) -> list[Problem]:
    wrong = [
        *(_explain(detail, places) for detail in sections.errors[:_MOST_TOLD]),
        *check_sections(sections, check_maps),
    ]
    if len(sections.errors) > _MOST_TOLD:
        wrong.append(
            Problem((), f"{len(sections.errors) - _MOST_TOLD} more settings are wrong", "fix the others first")
        )
    # Errors in the value of a broken reference would only hide the cause.
    broken = {problem.path for problem in resolved.problems}
    return [*resolved.problems, *(resolved.hide(problem) for problem in wrong if problem.path not in broken)]


class PartialConfig(Value):
    """The readable part of a configuration that may have mistakes, for commands that are needed in an emergency."""

    path: Path
    config: Config
    """The valid settings, the spool among them, and defaults in place of the others."""
    mistakes: tuple[Mistake, ...] = ()
    """All mistakes, except those inside address maps; empty when the whole file is usable."""
    lacking: frozenset[str] = frozenset()
    """Sections with a setting that was left out because it is invalid."""

    def check(self, *sections: str) -> None:
        """Raises ConfigErrors for mistakes in these sections and in the file as a whole."""
        wrong = tuple(one for one in self.mistakes if re.split(r"[.\[]", one.setting)[0] in ("", *sections))
        if wrong:
            raise ConfigErrors(wrong)

    def warn(self) -> str:
        """The warning for a command that goes on in spite of the mistakes; empty when there are none."""
        if not self.mistakes:
            return ""
        more = f" (1 of {len(self.mistakes)} mistakes)" if len(self.mistakes) > 1 else ""
        return (
            f"warning: the configuration is broken: {self.mistakes[0].format()}{more}\n"
            f"warning: this command goes on with the spool {self.config.server.spool}; "
            f"`waypost check --config {self.path}` shows every mistake"
        )


def load_partly(path: Path, environ: Mapping[str, str]) -> PartialConfig:
    """Read the valid part of a configuration, whatever its other mistakes. Raises ConfigErrors when the file does not
    say where the spool is."""
    text, tree, mistakes = _read_tree(path)
    directory, places = path.absolute().parent, locate(text)
    resolved = resolve_references(tree, environ, directory)
    spool = _take_file(resolved, ("server", "spool"), path, places) or DEFAULT_SPOOL
    if "server" not in tree:
        raise ConfigErrors(mistakes or (Mistake(path, 1, 0, "server", "is not set", "add it"),))
    sections = ValidSections(resolved.tree, directory)
    names = frozenset(Config.model_fields)
    lacking = names if mistakes else frozenset(name for name in names if not sections.is_complete(name))
    if not mistakes:
        try:
            problems = _find_problems(resolved, sections, places, check_maps=False)
            mistakes = place_problems(problems, path, places).mistakes
        except OSError as error:
            mistakes = (Mistake(path, 1, 0, "", f"{error.filename}: {error.strerror}"),)
    server = sections.config.server.model_copy(update={"spool": directory / spool})
    return PartialConfig(path, sections.config.model_copy(update={"server": server}), mistakes, lacking)


def find_users(path: Path, environ: Mapping[str, str]) -> Path | None:
    """The path of the users' file, from a configuration that is invalid until that file exists. Raises
    ConfigErrors."""
    text, tree, _ = _read_tree(path)
    directory = path.absolute().parent
    users = _take_file(resolve_references(tree, environ, directory), ("submission", "users"), path, locate(text))
    return directory / users if users else None


def _take_file(resolved: Resolved, setting: tuple[str, str], path: Path, places: dict[KeyPath, Place]) -> Path | None:
    """One path of a tree that may have other mistakes; None when it is not set. Raises ConfigErrors."""
    broken = [problem for problem in resolved.problems if problem.path == setting]
    table = resolved.tree.get(setting[0])
    value = table.get(setting[1]) if isinstance(table, dict) else None
    if value is not None and not isinstance(value, str):
        broken = [Problem(setting, f"{_show(value)} is the wrong type", "write a path in quotes")]
    if broken:
        raise place_problems(broken, path, places)
    return Path(value) if value else None


def _read_tree(path: Path) -> tuple[str, dict[str, Any], tuple[Mistake, ...]]:
    """The text, its tree and its mistakes as TOML. With mistakes, the tree holds the parts that are valid by
    themselves. Raises ConfigErrors when the file cannot be read at all."""
    try:
        text = _read(path)
        return text, _parse(path, text), ()
    except ConfigErrors as error:
        try:
            text = read_octets(path).decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        except TextUnfit:
            raise error from None
        return text, _salvage(text), error.mistakes


_HEAD = re.compile(r"^(?=[ \t]*\[)", re.MULTILINE)


def _salvage(text: str) -> dict[str, Any]:
    """The tables of a text that is not TOML as a whole: each is read by itself, and a broken one line by line."""
    tree: dict[str, Any] = {}
    for table in _HEAD.split(text):
        head, *lines = table.split("\n")
        try:
            _join(tree, tomllib.loads(table))
        except (tomllib.TOMLDecodeError, RecursionError):
            for line in lines:
                with suppress(tomllib.TOMLDecodeError, RecursionError):
                    _join(tree, tomllib.loads(f"{head}\n{line}"))
    return tree


def _join(tree: dict[str, Any], more: dict[str, Any]) -> None:
    """Add the missing keys: of two tables with one name, the first one counts."""
    for key, value in more.items():
        known = tree.setdefault(key, value)
        if isinstance(known, dict) and isinstance(value, dict) and known is not value:
            _join(known, value)
        elif isinstance(known, list) and isinstance(value, list) and known is not value:
            known += value


_MISSING = (
    "name it with --config or WAYPOST_CONFIG (the demo's is var/demo/gateway.toml), or create it with `waypost init`"
)


def _read(path: Path) -> str:
    try:
        return read_text(path, toml=True)
    except TextUnfit as error:
        fix = error.fix if path.exists() else _MISSING
        raise ConfigErrors((Mistake(path, error.line, 0, "", error.problem, fix),)) from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        at = _AT.search(said)
        last = text.count("\n") + 1
        line, column = (int(at[1]), int(at[2])) if at and at[1] else (last, len(text) - text.rfind("\n"))
        problem = _AT.sub("", said)
        raise ConfigErrors((Mistake(path, line, column, "", f"no TOML: {problem}"),)) from None
    except RecursionError:
        raise ConfigErrors((Mistake(path, 1, 0, "", "no TOML: nested too deeply"),)) from None


def _explain(detail: ErrorDetails, places: dict[KeyPath, Place]) -> Problem:
    """A model's complaint in words for the author of the file."""
    path: KeyPath = tuple(detail["loc"])
    context = detail.get("ctx", {})
    kind = detail["type"]
    value = detail["input"]
    if kind == "value":
        return Problem(_cut(path, places), str(context["problem"]), str(context["fix"]))
    if kind == "missing":
        table = ".".join(str(key) for key in path[:-1] if isinstance(key, str))
        return Problem(path, "is not set", f"add it to [{table}]" if table else "add it")
    if kind == "extra_forbidden":
        close = get_close_matches(str(path[-1]), _settings(path[:-1]), 1)
        return Problem(path, "no such setting", f'did you mean "{close[0]}"?' if close else "remove it")
    path = _cut(path, places)
    if kind == "literal_error":
        words = str(context["expected"]).replace("'", '"')
        return Problem(path, f"{_show(value)} is not known", f"write {words}")
    table = _name_table(path, kind, value)
    if table:
        return Problem(path, "is written as another kind of table", f"write {table}")
    wanted = _WANTED.get(kind.removesuffix("_type").removesuffix("_parsing"))
    if wanted:
        return Problem(path, f"{_show(value)} is the wrong type", f"write {wanted}")
    said = detail["msg"].removeprefix("Input ")
    return Problem(path, f"{_show(value)}: {said}" if not isinstance(value, dict) else said)


def _name_table(path: KeyPath, kind: str, value: object) -> str:
    """The correct head of the table at `path`, if single and double brackets are confused; else empty."""
    name = ".".join(str(key) for key in path)
    if kind == "tuple_type" and isinstance(value, dict) and _settings((*path, 0)):
        return f"[[{name}]]"
    if kind == "model_type" and isinstance(value, list) and not isinstance(path[-1], int):
        return f"[{name}]"
    if kind == "dict_type" and isinstance(value, list):
        return f"[{name}.NAME]" if _settings((*path, "NAME")) else f"[{name}]"
    return ""


_WANTED = {
    "int": "a whole number",
    "int_from_float": "a whole number",
    "float": "a number",
    "string": 'a string in quotes, as "this"',
    "bool": "true or false",
    "tuple": 'a list, as ["this", "that"]',
    "dict": "a table",
    "model": "a table",
    "path": "a path in quotes",
}


def _show(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list | tuple) else str(value)


def _cut(path: KeyPath, places: dict[KeyPath, Place]) -> KeyPath:
    """The path without an index that the file does not have: a single string may stand for a list."""
    while path and path not in places and isinstance(path[-1], int):
        path = path[:-1]
    return path


def _settings(path: KeyPath) -> list[str]:
    """The settings that are allowed in the table at `path`."""
    model: Any = Config
    for key in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(key))
            model = field.annotation if field else None
        else:
            # An element of tuple[Listener, ...], or a value of dict[str, Backend].
            model = next((one for one in get_args(model) if isinstance(one, type) and one is not str), None)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
