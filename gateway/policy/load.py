"""TOML text to a rule set. All mistakes in rules are reported here together, so that later only the data of a message
can cause a failure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.model.decision import Stage
from gateway.model.place import KeyPath, Place, locate, nearest
from gateway.policy.draft import Draft, build_rule, suggest
from gateway.policy.expression import Condition, Language
from gateway.policy.facts import FACTS
from gateway.policy.proof import can_hide, find_futility
from gateway.policy.rules import Rule, RuleErrors, RuleMistake, RuleSet
from gateway.policy.soundness import find_failure

_AT = re.compile(r" \(at line (\d+), column \d+\)$")
_SET = re.compile(r"^set\s*=", re.MULTILINE)
_HEAD = ("set", "include", "beside", "texts", "rule")


def load(name: str, files: Mapping[str, str]) -> RuleSet:
    """The rule set `name` from the text of its file `NAME.toml` and of the files that it includes. Included rules come
    before the file's own, in the order of `include`. Raises RuleErrors with every mistake."""
    return _Loader(files).load(name, ())


class _Loader:
    """One load, and the mistakes found in it."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._mistakes: list[RuleMistake] = []
        self._language = Language(FACTS)
        self._beside: RuleSet | None = None

    def load(self, name: str, leading: tuple[str, ...]) -> RuleSet:
        """`leading` are the sets that name this one in `beside`."""
        rules: list[Rule] = []
        hiding: dict[Stage, list[tuple[str, Condition]]] = {stage: [] for stage in Stage}
        seen: dict[str, str] = {}
        texts = self._read_texts(f"{name}.toml")
        for draft in self._read(f"{name}.toml", name, (), leading):
            place = f"{draft.file}:{draft.place('id').line}"
            if draft.id in seen:
                draft.complain("id", f"another rule has this id: {seen[draft.id]}")
            seen.setdefault(draft.id, place)
            if draft.id in texts:
                draft.table["text"] = texts[draft.id]
            rule = build_rule(draft, self._language)
            if rule is not None and self._can_be_asked(draft, rule) and self._can_decide(draft, rule, hiding):
                rules.append(rule)
        for id in texts:
            if id not in seen:
                self._complain_of_text(f"{name}.toml", id, f"there is no rule of this id{suggest(id, seen)}")
        if self._mistakes:
            raise RuleErrors(tuple(self._mistakes))
        return RuleSet.make(name, rules, self._language, self._beside)

    def _read_texts(self, file: str) -> dict[str, str]:
        """[texts] of the set's own file: other words for refusals of rules in included files."""
        try:
            found = tomllib.loads(self._files.get(file, "")).get("texts", {})
        except (tomllib.TOMLDecodeError, RecursionError):  # reported where the rules are read
            return {}
        if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
            self._complain_of_text(file, "", 'write rule ids and texts, as own-domain-dmarc = "Use our form, {domain}"')
            return {}
        return found

    def _complain_of_text(self, file: str, id: str, problem: str) -> None:
        path = ("texts", id) if id else ("texts",)
        place = nearest(locate(self._files[file]), path)
        self._mistakes.append(RuleMistake(file, place.line, "", f"{'.'.join(path)}: {problem}"))

    def _can_be_asked(self, draft: Draft, rule: Rule) -> bool:
        examples = [example.facts for example in rule.examples]
        fault = find_failure(rule.condition, examples, self._language)
        if fault is not None:
            draft.complain_expression(fault.line, fault.column, fault.problem)
        return fault is None

    def _can_decide(self, draft: Draft, rule: Rule, hiding: dict[Stage, list[tuple[str, Condition]]]) -> bool:
        """`hiding` are the earlier rules of each stage that can hide a later one."""
        futility = find_futility(rule.condition, hiding[rule.stage], self._language, FACTS)
        if futility:
            draft.complain_expression(1, 1, futility)
        elif not rule.shadow and can_hide(rule.condition, self._language, FACTS):
            hiding[rule.stage].append((rule.id, rule.condition))
        return not futility

    def _read(self, file: str, name: str, including: tuple[str, ...], leading: tuple[str, ...] = ()) -> Iterator[Draft]:
        """The rules of a file and of the files that it includes. `name` is the required value of its `set`; empty for
        any."""
        text = self._files.get(file)
        if text is None:  # the including file has already reported an included file that is missing
            self._mistakes.append(RuleMistake("", 0, "", self._deny_set(name)))
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
        if name and isinstance(tree.get("beside"), str):
            self._load_beside(file, tree["beside"], places, (*leading, name))
        drafts = self._draft(file, tree, places, text)
        yield from (draft for draft in drafts if draft.table.get("first") is True)
        included = tree.get("include", [])
        for other in included if isinstance(included, list) else []:
            if other in (*including, file):
                line = nearest(places, ("include",)).line
                self._mistakes.append(RuleMistake(file, line, "", f"{other} includes itself"))
            elif isinstance(other, str) and other not in self._files:
                line = nearest(places, ("include", included.index(other))).line
                said = f'include: no rule file "{other}"{suggest(other, self._files)}'
                self._mistakes.append(RuleMistake(file, line, "", said))
            elif isinstance(other, str):
                yield from self._read(other, "", (*including, file))
        yield from (draft for draft in drafts if draft.table.get("first") is not True)

    def _draft(self, file: str, tree: dict[str, Any], places: dict[KeyPath, Place], text: str) -> list[Draft]:
        """The rules of this file."""
        rules, lines = tree.get("rule", []), text.split("\n")
        return [
            Draft(file, number, table, places, lines, self._mistakes)
            for number, table in enumerate(rules if isinstance(rules, list) else [])
            if isinstance(table, dict)
        ]

    def _load_beside(self, file: str, name: str, places: dict[KeyPath, Place], leading: tuple[str, ...]) -> None:
        if name in leading:
            line = nearest(places, ("beside",)).line
            self._mistakes.append(RuleMistake(file, line, "", f"beside: {name} stands beside itself"))
            return
        if f"{name}.toml" not in self._files:
            line = nearest(places, ("beside",)).line
            self._mistakes.append(RuleMistake(file, line, "", f"beside: {self._deny_set(name)}"))
            return
        try:
            self._beside = _Loader(self._files).load(name, leading)
        except RuleErrors as error:
            self._mistakes += error.mistakes

    def _deny_set(self, name: str) -> str:
        there = sorted(file.removesuffix(".toml") for file, text in self._files.items() if _SET.search(text))
        return f'no rule set named "{name}"; there are: {", ".join(there) or "none"}'

    def _check_head(self, file: str, tree: dict[str, Any], places: dict[KeyPath, Place], name: str) -> None:
        problems = [(key, f"{key}: no such setting{suggest(key, _HEAD)}") for key in tree if key not in _HEAD]
        include, rules = tree.get("include", []), tree.get("rule", [])
        if not isinstance(include, list) or not all(isinstance(other, str) for other in include):
            problems.append(("include", 'include: write a list of files, as ["other.toml"]'))
        if not isinstance(rules, list) or not all(isinstance(table, dict) for table in rules):
            problems.append(("rule", "rule: write each rule as [[rule]]"))
        if "beside" in tree and not isinstance(tree["beside"], str):
            problems.append(("beside", 'beside: write the name of a set, as "enforce"'))
        if name and tree.get("set") != name:
            problems.append(("set", f'set: write set = "{name}", as the file is named'))
        for key, problem in problems:
            self._mistakes.append(RuleMistake(file, nearest(places, (key,)).line, "", problem))
