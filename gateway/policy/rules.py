"""Rules as they are in force, and the mistakes that they can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from gateway.model.decision import Action, OverrideType, RuleHit, Stage
from gateway.model.reply import Reply
from gateway.model.value import Value
from gateway.policy.expression import PYTHON_TYPES, Choice, Condition, Language
from gateway.policy.facts import FACTS, FactKind

DEFAULT = "default"
"""The name of the decision when no rule matches."""
ACTIONS_AT = {
    Stage.CONNECT: (Action.ACCEPT, Action.DEFER, Action.REJECT),
    Stage.MAIL: (Action.ACCEPT, Action.DEFER, Action.REJECT),
    Stage.RCPT: (Action.ACCEPT, Action.DEFER, Action.REJECT),
    Stage.DATA: tuple(Action),
}
"""The actions allowed at each stage: before the end of data there is no message to mark or keep. `accept` there means
that no later rule of the stage is asked."""


class Example(Value):
    """One message that a rule must match, or must leave alone."""

    name: str
    facts: Mapping[str, object]
    """The facts that differ from the usual ones."""
    decides: bool
    """True: the rule decides; false: another rule does, or none."""
    line: int


class Rule(Value):
    """A condition and its action."""

    id: str
    stage: Stage
    condition: Condition
    action: Action
    reply: Reply
    """The text may contain `{domain}` (the Author Domain) and `{spf_domain}`."""
    shadow: bool = False
    """Only recorded, never acted on."""
    override: OverrideType = OverrideType.LOCAL_POLICY
    """The override type in reports when the rule does not follow the published policy."""
    seal: bool = True
    """Backends that want ARC seals get them."""
    file: str = ""
    line: int = 0
    examples: tuple[Example, ...] = ()


class StageRules(Value):
    """The rules of one stage, in the order of asking."""

    live: tuple[Rule, ...]
    choices: tuple[Choice, ...]
    """Their conditions."""
    misses: tuple[RuleHit, ...]
    """The record of each rule that does not match."""
    shadow: tuple[Rule, ...]


class RuleSet(Value):
    """All rules of a judgement, checked and compiled."""

    name: str
    rules: Mapping[Stage, tuple[Rule, ...]]
    """In the order of asking."""
    stages: Mapping[Stage, StageRules]
    language: Language
    beside: RuleSet | None = None
    """Another set. Its decision only appears in the verdict field."""

    @classmethod
    def make(cls, name: str, rules: Sequence[Rule], language: Language, beside: RuleSet | None) -> RuleSet:
        """A set of rules in their written order."""
        staged = {stage: tuple(rule for rule in rules if rule.stage is stage) for stage in Stage}
        stages = {stage: _make_stage_rules(some, language) for stage, some in staged.items()}
        return cls(name, staged, stages, language, beside)


def _make_stage_rules(rules: Sequence[Rule], language: Language) -> StageRules:
    live = tuple(rule for rule in rules if not rule.shadow)
    misses = tuple(RuleHit(rule.id, rule.stage, False) for rule in live)
    choices = language.choose([rule.condition for rule in live])
    return StageRules(live, choices, misses, tuple(rule for rule in rules if rule.shadow))


class RuleMistake(Value):
    """A mistake in a rule file, and its place."""

    file: str
    """Empty when the mistake is not in a file."""
    line: int
    rule: str
    """The rule's id; empty for a fault of the file itself."""
    problem: str
    excerpt: str = ""
    """The line of the expression with the mistake."""
    column: int = 0
    """The position in `excerpt`, from 1."""

    def format(self) -> str:
        """`file:line: rule: problem`, and below it the expression with a caret."""
        place = f"{self.file}:{self.line}: " if self.file else ""
        said = place + (f"rule {self.rule}: " if self.rule else "") + self.problem
        return f"{said}\n    {self.excerpt}\n    {' ' * (self.column - 1)}^" if self.excerpt else said


class RuleErrors(Exception):
    """Every mistake of a rule set and the files that it includes."""

    def __init__(self, mistakes: tuple[RuleMistake, ...]) -> None:
        super().__init__(mistakes)
        self.mistakes = mistakes

    def format(self) -> str:
        return "\n".join(mistake.format() for mistake in self.mistakes)

    def __str__(self) -> str:
        return self.format()


class RuleFailure(Exception):
    """A rule could not be asked: neither a match nor a miss, but a fault of ours (451 4.3.0 and an event)."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"rule {rule}: {reason}" if rule else reason)
        self.rule = rule
        self.reason = reason


_SETTINGS = {"name": str, "facts": dict, "decides": bool}
_FACTS = {fact.name: fact for fact in FACTS}
Fault = tuple[tuple[str | int, ...], str]
"""The path inside the example, and the fault there."""


def find_example_faults(table: object, stage: Stage) -> list[Fault]:
    """All faults of an example for a rule of this stage."""
    if not isinstance(table, dict):
        return [((), "write each as [[rule.example]]")]
    faults: list[Fault] = []
    for key, value in table.items():
        wanted = _SETTINGS.get(key)
        if wanted is None:
            faults.append(((key,), f"{key}: no such setting; there are: {', '.join(_SETTINGS)}"))
        elif type(value) is not wanted:
            faults.append(((key,), f"{key}: a {wanted.__name__} is wanted"))
    facts = table.get("facts", {})
    return [*faults, *find_fact_faults(facts, stage)] if isinstance(facts, dict) else faults


def find_fact_faults(facts: Mapping[str, object], stage: Stage) -> Iterator[Fault]:
    """Faults in facts that a person wrote."""
    for name, value in facts.items():
        fact = _FACTS.get(name)
        if fact is None:
            close = get_close_matches(name, _FACTS, 1)
            hint = f"; did you mean {close[0]}?" if close else '; write it in quotes, as "dmarc.result"'
            yield ("facts", name), f"no fact named {name}{hint}"
        elif not fact.known_at(stage):
            yield ("facts", name), f"{name} is not known yet at stage {stage}, only from {fact.stage} on"
        elif type(value) is not PYTHON_TYPES[fact.kind]:
            yield ("facts", name), f"{name} is of type {fact.kind}"
        elif fact.values and fact.kind is FactKind.STRING and value not in fact.values:
            there = ", ".join(str(one) or '""' for one in fact.values)
            yield ("facts", name), f'{name} is never "{value}"; it is one of {there}'


def read_example(table: Mapping[str, Any], line: int) -> Example:
    """An example without faults."""
    return Example(table.get("name", ""), table.get("facts", {}), table.get("decides", True), line)
