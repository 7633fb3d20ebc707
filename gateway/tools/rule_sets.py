"""`waypost policy show`: the rules in force, the source of each, and their settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Group
from rich.text import Text

from gateway.config.judging import Dnsbl, GreylistSettings, Policy
from gateway.config.model import Config
from gateway.model.decision import OverrideType, Stage
from gateway.model.value import Value
from gateway.policy.facts import FACTS
from gateway.policy.rules import Rule, RuleSet
from gateway.tools.narrative import clean
from gateway.tools.results import Json

_NAME = re.compile(r"[a-z_]+(?:\.[a-z_]+)+|[a-z_]+")
_SETTINGS = {fact.name: fact.setting for fact in FACTS if fact.setting}


_SECTIONS = {"policy": Policy, "greylisting": GreylistSettings}
"""The sections of rule settings with defaults; a name outside them is a list of tables."""


class Lawbook(Value):
    """A rule set with its files and settings."""

    rules: RuleSet
    files: Mapping[str, Path]
    """The place of each rule file."""
    config: Config | None
    """None: no configuration was read, and every setting has its default."""
    domains: Mapping[str, str]
    """Domains with another set -> its name."""


def find_settings(rule: Rule) -> list[str]:
    """The settings on which, besides the message, the rule's condition depends."""
    names = _NAME.findall(rule.condition.text)
    return list(dict.fromkeys(_SETTINGS[name] for name in names if name in _SETTINGS))


def read_setting(config: Config | None, path: str) -> Json:
    """A setting's value; its default without a configuration."""
    section, _, name = path.partition(".")
    if name:
        told: Json = (getattr(config, section) if config else _SECTIONS[section]()).model_dump(mode="json")[name]
        return told
    tables = getattr(config, section) if config else ()
    return [table.zone if isinstance(table, Dnsbl) else table.name for table in tables]


def rule_sets_json(book: Lawbook) -> dict[str, Json]:
    """All contents of `render_rule_sets`."""
    beside = book.rules.beside
    return {
        "set": book.rules.name,
        "beside": beside.name if beside else None,
        "domains": dict(book.domains),
        "rules": [_rule_json(book, rule) for rule in _in_order(book.rules)],
    }


def _rule_json(book: Lawbook, rule: Rule) -> dict[str, Json]:
    return {
        "id": rule.id,
        "stage": rule.stage.value,
        "when": rule.condition.text.strip(),
        "then": rule.action.value,
        "reply": str(rule.reply),
        "override": rule.override.value,
        "seal": rule.seal,
        "shadow": rule.shadow,
        "file": str(book.files.get(rule.file, rule.file)),
        "line": rule.line,
        "settings": {path: read_setting(book.config, path) for path in find_settings(rule)},
    }


def render_rule_sets(book: Lawbook) -> Group:
    """For people: the rules in the order of asking."""
    rules = _in_order(book.rules)
    parts = [Text(f"Set {book.rules.name}: {len(rules)} rules", "bold")]
    directories = dict.fromkeys(str(book.files[rule.file].parent) for rule in rules)
    parts += [Text(f"From {directory}") for directory in directories]
    if book.rules.beside:
        parts.append(Text(f"Beside it, only marked in the verdict field: {book.rules.beside.name}"))
    parts += [Text(f"Mail to {domain} is judged by {name}") for domain, name in book.domains.items()]
    stage = None
    for number, rule in enumerate(rules, 1):
        if rule.stage is not stage:
            stage = rule.stage
            parts += [Text(), Text(f"At {_STAGES[stage]}", "bold")]
        parts += [Text(line) for line in _tell_rule(book, number, rule)]
    parts += [Text(), Text("What no rule takes is accepted.")]
    return Group(*parts)


_STAGES = {
    Stage.CONNECT: "the connection",
    Stage.MAIL: "MAIL",
    Stage.RCPT: "RCPT, for each recipient",
    Stage.DATA: "the end of data",
}


def _tell_rule(book: Lawbook, number: int, rule: Rule) -> Iterator[str]:
    shadow = ", only recorded (shadow)" if rule.shadow else ""
    yield clean(f"{number:3}. {rule.id}: {rule.action}{shadow}   [{rule.file}:{rule.line}]")
    yield clean(f"     when {' '.join(rule.condition.text.split())}")
    if not rule.reply.positive:
        yield clean(f"     reply {rule.reply}")
    if rule.override is not OverrideType.LOCAL_POLICY:
        yield f"     reported as {rule.override}"
    if not rule.seal:
        yield "     without an ARC seal"
    for path in find_settings(rule):
        value = read_setting(book.config, path)
        yield clean(f"     setting {path} = {_show(value)}")


def _show(value: Json) -> str:
    if isinstance(value, list):
        names = [str(item["name"] if isinstance(item, dict) else item) for item in value]
        return ", ".join(names) or "none"
    if isinstance(value, dict):
        return ", ".join(value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _in_order(rules: RuleSet) -> Sequence[Rule]:
    return [rule for stage in Stage for rule in rules.rules[stage]]
