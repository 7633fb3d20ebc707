"""TOML text to a rule set. Whatever cannot be right is refused here, all of it at once, so that nothing but data is
left to go wrong when mail comes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from string import Formatter
from typing import Any

from gateway.model.decision import Action, Stage
from gateway.model.place import KeyPath, Place, locate, nearest
from gateway.model.reply import REPLIES, Reply
from gateway.policy.expression import Condition, ExpressionErrors, Language
from gateway.policy.proof import find_futility
from gateway.policy.rules import Rule, RuleErrors, RuleMistake, RuleSet
from gateway.policy.vocabulary import FACTS

DEFAULT = "default"
"""What decides when no rule does."""
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_PLACEHOLDERS = {"domain", "spf_domain"}
_AT = re.compile(r" \(at line (\d+), column \d+\)$")
_SETTINGS = {"id": str, "stage": str, "when": str, "then": str, "reply": str, "shadow": bool}
_NEEDED = ("id", "stage", "when", "then")


def load(
    name: str,
    files: Mapping[str, str],
    stages: Collection[Stage] = tuple(Stage),
    actions: Collection[Action] = tuple(Action),
) -> RuleSet:
    """The rule set `name` from the text of its file `NAME.toml` and of those it includes. Included rules come before
    the file's own, in the order of `include`. `stages` and `actions` are those that the caller asks at and carries out.
    Raises RuleErrors with every mistake."""
    return _Loader(files, stages, actions).load(name)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A [[rule]] table and where it stands."""

    file: str
    number: int
    table: dict[str, Any]
    places: dict[KeyPath, Place]

    @property
    def id(self) -> str:
        return str(self.table.get("id") or f"#{self.number + 1}")

    def place(self, setting: str = "") -> Place:
        return nearest(self.places, ("rule", self.number, setting) if setting else ("rule", self.number))


class _Loader:
    """One load, and the mistakes that it meets."""

    def __init__(self, files: Mapping[str, str], stages: Collection[Stage], actions: Collection[Action]) -> None:
        self._files = files
        self._stages = stages
        self._actions = actions
        self._mistakes: list[RuleMistake] = []
        self._language = Language(FACTS)

    def load(self, name: str) -> RuleSet:
        rules: list[Rule] = []
        seen: dict[str, str] = {}
        for draft in self._read(f"{name}.toml", name, ()):
            place = f"{draft.file}:{draft.place('id').line}"
            if draft.id in seen:
                self._complain(draft, "id", f"another rule has this id: {seen[draft.id]}")
            seen.setdefault(draft.id, place)
            rule = self._build(draft, rules)
            if rule is not None:
                rules.append(rule)
        if self._mistakes:
            raise RuleErrors(tuple(self._mistakes))
        staged = {stage: tuple(rule for rule in rules if rule.stage is stage) for stage in Stage}
        return RuleSet(name, staged, self._language)

    def _read(self, file: str, name: str, including: tuple[str, ...]) -> Iterator[_Draft]:
        """The rules of a file and of those it includes. `name` is what its `set` must say; empty for any."""
        text = self._files.get(file)
        if text is None:
            there = ", ".join(sorted(self._files)) or "none"
            self._mistakes.append(RuleMistake(file, 1, "", f"there is no such rule file; there are: {there}"))
            return
        try:
            tree = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            at = _AT.search(str(error))
            line = int(at[1]) if at else text.count("\n") + 1
            self._mistakes.append(RuleMistake(file, line, "", f"no TOML: {_AT.sub('', str(error))}"))
            return
        places = locate(text)
        self._check_head(file, tree, places, name)
        included = tree.get("include", [])
        for other in included if isinstance(included, list) else []:
            if other in (*including, file):
                line = nearest(places, ("include",)).line
                self._mistakes.append(RuleMistake(file, line, "", f"{other} includes itself"))
            elif isinstance(other, str):
                yield from self._read(other, "", (*including, file))
        rules = tree.get("rule", [])
        for number, table in enumerate(rules if isinstance(rules, list) else []):
            if isinstance(table, dict):
                yield _Draft(file, number, table, places)

    def _check_head(self, file: str, tree: dict[str, Any], places: dict[KeyPath, Place], name: str) -> None:
        head = ("set", "include", "rule")
        problems = [(key, f"{key}: no such setting{_suggest(key, head)}") for key in tree if key not in head]
        include, rules = tree.get("include", []), tree.get("rule", [])
        if not isinstance(include, list) or not all(isinstance(other, str) for other in include):
            problems.append(("include", 'include: write a list of files, as ["other.toml"]'))
        if not isinstance(rules, list) or not all(isinstance(table, dict) for table in rules):
            problems.append(("rule", "rule: write each rule as [[rule]]"))
        if name and tree.get("set") != name:
            problems.append(("set", f'set: write set = "{name}", as the file is named'))
        for key, problem in problems:
            self._mistakes.append(RuleMistake(file, nearest(places, (key,)).line, "", problem))

    def _build(self, draft: _Draft, earlier: list[Rule]) -> Rule | None:
        """The rule; None when something is wrong with it."""
        before = len(self._mistakes)
        self._check_settings(draft)
        stage = self._choose(draft, "stage", Stage, self._stages)
        action = self._choose(draft, "then", Action, self._actions)
        reply = self._find_reply(draft, action) if action else None
        condition = self._compile(draft, stage) if stage else None
        if condition and stage:
            rivals = [(one.id, one.condition) for one in earlier if one.stage is stage and not one.shadow]
            futility = find_futility(condition, rivals, self._language, FACTS)
            if futility:
                self._complain_expression(draft, 1, 1, futility)
        if len(self._mistakes) > before or not (stage and action and reply and condition):
            return None
        return Rule(draft.id, stage, condition, action, reply, draft.table.get("shadow", False))

    def _check_settings(self, draft: _Draft) -> None:
        for key, value in draft.table.items():
            wanted = _SETTINGS.get(key)
            if wanted is None:
                self._complain(draft, key, f"no such setting{_suggest(key, _SETTINGS)}")
            elif type(value) is not wanted:
                self._complain(draft, key, "write true or false" if wanted is bool else "write a string in quotes")
        for key in _NEEDED:
            if key not in draft.table:
                self._complain(draft, key, "is not set")
        id = draft.table.get("id")
        if isinstance(id, str) and (not _ID.fullmatch(id) or id == DEFAULT):
            self._complain(draft, "id", f'"{id}" cannot be an id; write small letters and digits, joined by hyphens')

    def _choose(self, draft: _Draft, key: str, kind: type[Stage] | type[Action], built: Collection[str]) -> Any:
        value = draft.table.get(key)
        if not isinstance(value, str):
            return None
        words = [str(one.value) for one in kind]
        if value in built:
            return kind(value)
        if value in words:
            # Known to the design, and not built: a rule that is never asked must not look as if it were.
            self._complain(draft, key, f'{key} "{value}" is not there yet; write {" or ".join(built)}')
            return None
        self._complain(draft, key, f'no {key} "{value}"{_suggest(value, words)}; there are: {", ".join(words)}')
        return None

    def _find_reply(self, draft: _Draft, action: Action) -> Reply | None:
        name = draft.table.get("reply")
        if action.delivers or action is Action.HOLD:
            if name is not None:
                self._complain(draft, "reply", f"{action} is always answered 250")
            return REPLIES["accepted"]
        if not isinstance(name, str):
            if name is None:
                self._complain(draft, "reply", f"is not set, and {action} needs one")
            return None
        reply = REPLIES.get(name)
        if reply is None:
            self._complain(draft, "reply", f'no reply "{name}"{_suggest(name, REPLIES)}')
            return None
        if reply.permanent != (action is Action.REJECT) or reply.positive:
            wanted = "5yz" if action is Action.REJECT else "4yz"
            self._complain(draft, "reply", f'"{name}" is a {reply.code}, and {action} needs a {wanted}')
        unknown = {field for _, field, _, _ in Formatter().parse(reply.text) if field} - _PLACEHOLDERS
        if unknown:
            self._complain(draft, "reply", f'"{name}" needs {", ".join(sorted(unknown))}, which no rule has')
        return reply

    def _compile(self, draft: _Draft, stage: Stage) -> Condition | None:
        text = draft.table.get("when")
        if not isinstance(text, str):
            return None
        try:
            return self._language.compile(text, stage)
        except ExpressionErrors as error:
            for fault in error.faults:
                self._complain_expression(draft, fault.line, fault.column, fault.problem)
            return None

    def _complain(self, draft: _Draft, setting: str, problem: str) -> None:
        line = draft.place(setting).line
        self._mistakes.append(RuleMistake(draft.file, line, draft.id, f"{setting}: {problem}"))

    def _complain_expression(self, draft: _Draft, line: int, column: int, problem: str) -> None:
        lines = draft.table["when"].split("\n")
        excerpt = lines[line - 1].replace("\t", " ") if 0 < line <= len(lines) else ""
        at = draft.place("when").value_line + line - 1
        self._mistakes.append(RuleMistake(draft.file, at, draft.id, f"when: {problem}", excerpt, column))


def _suggest(word: str, known: Any) -> str:
    close = get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""
