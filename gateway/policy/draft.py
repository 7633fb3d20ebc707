"""One [[rule]] table of a rule file, on its way to a rule in force."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from enum import StrEnum
from string import Formatter
from typing import Any, TypeVar

from gateway.model.decision import Action, OverrideType, Stage
from gateway.model.place import KeyPath, Place, nearest
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import Value, replace
from gateway.policy.expression import Condition, ExpressionErrors, Language
from gateway.policy.rules import ACTIONS_AT, DEFAULT, Rule, RuleMistake, find_example_faults, read_example

W = TypeVar("W", bound=StrEnum)

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_TEXT = re.compile(r"[ -~]{1,400}")
"""A reply's text is printable ASCII (RFC 5321 section 4.2) on one line."""
_PLACEHOLDERS = ("domain", "spf_domain", "client", "lists", "advice")
_SETTINGS: dict[str, type] = {
    **dict.fromkeys(("id", "stage", "when", "then", "reply", "text", "override"), str),
    **dict.fromkeys(("shadow", "seal", "first"), bool),
    "example": list,
}
_WRITE = {str: "write a string in quotes", bool: "write true or false", list: "write each as [[rule.example]]"}
_NEEDED = ("id", "stage", "when", "then")
_WAITING = "greylist.wait"


class Draft(Value):
    """The table and its place. Its faults go to `mistakes`."""

    file: str
    number: int
    table: dict[str, Any]
    places: dict[KeyPath, Place]
    lines: Sequence[str]
    """The lines of the file."""
    mistakes: list[RuleMistake]

    @property
    def id(self) -> str:
        return str(self.table.get("id") or f"#{self.number + 1}")

    def place(self, *setting: str | int) -> Place:
        return nearest(self.places, ("rule", self.number, *setting))

    def complain(self, setting: str, problem: str) -> None:
        self.complain_at((setting,), f"{setting}: {problem}")

    def complain_at(self, path: tuple[str | int, ...], problem: str) -> None:
        place = self.place(*path)
        # A missing key has no place of its own: the rule's place is shown, without a caret.
        known = ("rule", self.number, *path) in self.places
        excerpt = self.lines[place.line - 1].replace("\t", " ") if known else ""
        indent = len(excerpt) - len(excerpt.lstrip())
        column = place.value_column if place.value_line == place.line else place.column
        self.mistakes.append(
            RuleMistake(self.file, place.line, self.id, problem, excerpt.strip(), max(column - indent, 1))
        )

    def complain_expression(self, line: int, column: int, problem: str) -> None:
        """Line and column count from 1, inside the expression."""
        lines = self.table["when"].split("\n")
        excerpt = lines[line - 1].replace("\t", " ") if 0 < line <= len(lines) else ""
        at = self.place("when").value_line + line - 1
        self.mistakes.append(RuleMistake(self.file, at, self.id, f"when: {problem}", excerpt, column))


def build_rule(draft: Draft, language: Language) -> Rule | None:
    """The rule; None when it has a mistake."""
    before = len(draft.mistakes)
    _check_settings(draft)
    stage = _choose(draft, "stage", Stage)
    action = _choose_action(draft, stage)
    reply = _find_reply(draft, action) if action else None
    override = _choose(draft, "override", OverrideType) or OverrideType.LOCAL_POLICY
    # For an unknown stage the last one is used: it knows every fact, so other mistakes are still found.
    condition = _compile(draft, language, stage or Stage.DATA)
    seal = draft.table.get("seal", True)
    if not seal and action and not action.keeps:
        draft.complain("seal", f"{action} passes nothing on that could be sealed")
    examples = tuple(_read_examples(draft, stage or Stage.DATA))
    if len(draft.mistakes) > before or not (stage and action and reply and condition):
        return None
    shadow, line = draft.table.get("shadow", False), draft.place().line
    return Rule(draft.id, stage, condition, action, reply, shadow, override, seal, draft.file, line, examples)


def _check_settings(draft: Draft) -> None:
    for key, value in draft.table.items():
        wanted = _SETTINGS.get(key)
        if wanted is None:
            draft.complain(key, f"no such setting{suggest(key, _SETTINGS)}")
        elif type(value) is not wanted:
            draft.complain(key, _WRITE[wanted])
    for key in _NEEDED:
        if key not in draft.table:
            draft.complain(key, "is not set")
    id = draft.table.get("id")
    if isinstance(id, str) and (not _ID.fullmatch(id) or id == DEFAULT):
        draft.complain("id", f'"{id}" cannot be an id; write small letters and digits, joined by hyphens')


def _choose(draft: Draft, key: str, kind: type[W]) -> W | None:
    value = draft.table.get(key)
    if not isinstance(value, str):
        return None
    words = [str(one.value) for one in kind]
    if value in words:
        return kind(value)
    draft.complain(key, f'no {key} "{value}"{suggest(value, words)}; there are: {", ".join(words)}')
    return None


def _choose_action(draft: Draft, stage: Stage | None) -> Action | None:
    action = _choose(draft, "then", Action)
    if action is not None and stage is not None and action not in ACTIONS_AT[stage]:
        there = " or ".join(ACTIONS_AT[stage])
        draft.complain("then", f"{action} is not possible at stage {stage}, before the message is in; write {there}")
        return None
    if action is Action.GREYLIST and _WAITING not in str(draft.table.get("when")):
        draft.complain("when", f"greylist without {_WAITING} would let nobody in, however often it comes back")
        return None
    return action


def _find_reply(draft: Draft, action: Action) -> Reply | None:
    name, text = draft.table.get("reply"), draft.table.get("text")
    if action.keeps:
        for key in ("reply", "text"):
            if key in draft.table:
                draft.complain(key, f"{action} is always answered 250")
        return REPLIES["accepted"]
    if not isinstance(name, str):
        if name is None:
            draft.complain("reply", f"is not set, and {action} needs one")
        return None
    reply = REPLIES.get(name)
    if reply is None:
        there = ", ".join(name_replies(action))
        draft.complain("reply", f'no reply "{name}"{suggest(name, REPLIES)}; for {action} there are: {there}')
        return None
    if not _fits(reply, action):
        wanted = "5yz" if action is Action.REJECT else "4yz"
        draft.complain("reply", f'"{name}" is a {reply.code}, and {action} needs a {wanted}')
    if isinstance(text, str):
        return _put_text(draft, reply, text)
    unknown = _find_placeholders(reply.text).difference(_PLACEHOLDERS)
    if unknown:
        draft.complain("reply", f'"{name}" needs {", ".join(sorted(unknown))}, which no rule has')
    return reply


def _fits(reply: Reply, action: Action) -> bool:
    return reply.permanent if action is Action.REJECT else reply.transient


def name_replies(action: Action) -> list[str]:
    """The replies that a rule with this action may name, and that have a text of their own."""
    return [
        name
        for name, reply in REPLIES.items()
        if _fits(reply, action) and _find_placeholders(reply.text).issubset(_PLACEHOLDERS)
    ]


def _put_text(draft: Draft, reply: Reply, text: str) -> Reply | None:
    """The reply's codes with the admin's own words."""
    try:
        unknown = sorted(_find_placeholders(text).difference(_PLACEHOLDERS))
    except ValueError as error:
        draft.complain("text", f"{error}; write {{{{ and }}}} for braces")
        return None
    if any(spec or conversion for _, _, spec, conversion in Formatter().parse(text)):
        # A width would let a few characters send megabytes to strangers.
        draft.complain(
            "text", "nothing stands behind the name in braces: write {client}, not {client:>9} or {client!r}"
        )
    if unknown:
        there = ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
        draft.complain("text", f"no {{{unknown[0]}}} here; there are: {there}")
    if not _TEXT.fullmatch(text):
        draft.complain("text", "write one line of at most 400 printable ASCII characters")
    return replace(reply, text=text)


def _find_placeholders(text: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(text) if field is not None}


def _compile(draft: Draft, language: Language, stage: Stage) -> Condition | None:
    text = draft.table.get("when")
    if not isinstance(text, str):
        return None
    try:
        return language.compile(text, stage)
    except ExpressionErrors as error:
        for fault in error.faults:
            draft.complain_expression(fault.line, fault.column, fault.problem)
        return None


def _read_examples(draft: Draft, stage: Stage) -> Iterator[Any]:
    tables = draft.table.get("example", [])
    for number, table in enumerate(tables if isinstance(tables, list) else []):
        path = ("example", number)
        faults = find_example_faults(table, stage)
        for key, problem in faults:
            draft.complain_at((*path, *key), f"example: {problem}")
        if not faults:
            yield read_example(table, draft.place(*path).line)


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` when one of the known words is close."""
    close = get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""
