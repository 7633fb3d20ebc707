"""`waypost replay`: the past messages that these rules would decide differently.

In: traces in the order of their reception, and a runtime configuration. Out: the changes, as text or JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Group
from rich.text import Text

from gateway.model.decision import Decision
from gateway.model.delivery import Trace
from gateway.model.value import Value
from gateway.plan.judgement import JudgementContext
from gateway.plan.replay import differ, judge_again
from gateway.tools.narrative import clean
from gateway.tools.results import Json, safe_json, show_time


class ReplayedVerdict(Value):
    """One decision, with the compared and displayed parts."""

    action: str
    rule: str
    set: str
    reply: str

    @classmethod
    def of(cls, decision: Decision) -> ReplayedVerdict:
        return cls(decision.action.value, decision.rule, decision.rule_set, str(decision.reply))


class Change(Value):
    """One message with a changed verdict."""

    id: str
    received: float
    client: str
    author: str
    mail_from: str
    rcpts: tuple[str, ...]
    then: ReplayedVerdict
    now: ReplayedVerdict
    kind: str = ""
    """The apparent kind of the sender, if the message fails."""
    ours: bool = False
    """It writes as a domain of ours."""


@dataclass(slots=True)
class Replay:
    """The results of a replay."""

    judged: int = 0
    passed_over: int = 0
    """Messages that no rule decided on: relaying, loops, broken line ends, our own mail."""
    renamed: int = 0
    """Messages with the same verdict by another rule."""
    changes: list[Change] = field(default_factory=list)

    @property
    def kinds(self) -> Counter[tuple[str, str]]:
        """Number of messages that changed from one action to another."""
        return Counter((one.then.action, one.now.action) for one in self.changes)

    @property
    def senders(self) -> Counter[tuple[str, str, bool, str]]:
        """The same, divided by the author's domain and by the apparent kind of the sender."""
        return Counter((one.then.action, one.now.action, one.ours, one.kind) for one in self.changes)


async def replay_all(
    batches: AsyncIterable[Sequence[Trace]],
    context: JudgementContext,
    tick: Callable[[int], object] = lambda count: None,
) -> Replay:
    """Judge every trace again. `tick` gets the number done since its last call."""
    replay = Replay()
    async for traces in batches:
        for trace in traces:
            _count(replay, trace, judge_again(trace, context))
        tick(len(traces))
    return replay


def _count(replay: Replay, trace: Trace, now: Decision | None) -> None:
    if now is None:
        replay.passed_over += 1
        return
    replay.judged += 1
    then = trace.decision
    if differ(then, now):
        replay.changes.append(_change(trace, now))
    elif then.rule != now.rule:
        replay.renamed += 1


def _change(trace: Trace, now: Decision) -> Change:
    ingress = trace.edge or trace.internal
    return Change(
        id=trace.id,
        received=trace.received,
        client=str(ingress.client or "") if ingress else "",
        author=trace.authentication.dmarc.domain if trace.authentication else "",
        mail_from=str(trace.envelope.mail_from or ""),
        rcpts=tuple(str(rcpt.mailbox) for rcpt in trace.envelope.rcpts),
        then=ReplayedVerdict.of(trace.decision),
        now=ReplayedVerdict.of(now),
        kind=now.kind,
        ours="own-domain" in now.grounds,
    )


def replay_json(replay: Replay, rule_set: str, since: float) -> dict[str, Json]:
    """The outcome as plain values; times are epoch seconds."""
    return safe_json(
        {
            "set": rule_set,
            "since": since,
            "judged": replay.judged,
            "passed_over": replay.passed_over,
            "other_rule": replay.renamed,
            "kinds": [
                {"then": then, "now": now, "ours": ours, "kind": kind or None, "messages": count}
                for (then, now, ours, kind), count in replay.senders.most_common()
            ],
            "changed": [
                {
                    "id": one.id,
                    "received": one.received,
                    "client": one.client or None,
                    "author": one.author or None,
                    "mail_from": one.mail_from or None,
                    "rcpts": list(one.rcpts),
                    "then": _verdict_json(one.then),
                    "now": _verdict_json(one.now),
                    "kind": one.kind or None,
                    "ours": one.ours,
                }
                for one in replay.changes
            ],
        }
    )


def _verdict_json(verdict: ReplayedVerdict) -> dict[str, Json]:
    return {"action": verdict.action, "rule": verdict.rule, "set": verdict.set, "reply": verdict.reply}


def render_replay(replay: Replay, rule_set: str, since: float) -> Group:
    """Two lines for each change, and their totals."""
    lines: list[Text] = []
    for one in replay.changes:
        verdicts = f"{one.then.action} ({one.then.rule}) -> {one.now.action} ({one.now.rule})"
        source = f"{one.client or 'an unknown client'}, author domain {one.author or 'unknown'}"
        envelope = f"from {one.mail_from or '<>'} to {', '.join(one.rcpts)}"
        lines.append(Text(clean(f"{one.id}  {verdicts}"), "bold"))
        lines.append(Text(clean(f"    {show_time(one.received)}, {source}, {envelope}")))
    lines += [Text()] if lines else []
    kinds = ", ".join(f"{count} {then} -> {now}" for (then, now), count in replay.kinds.most_common())
    changed = f"{len(replay.changes)} would change" + (f": {kinds}" if kinds else "")
    lines.append(
        Text(f"{replay.judged} messages since {show_time(since)}, judged by {rule_set}: {changed}.", style="bold")
    )
    for (then, now, ours, kind), count in replay.senders.most_common():
        whose = "as one of our domains" if ours else "as domains of others"
        lines.append(Text(f"    {count} {then} -> {now}: {kind or 'no failure of DMARC'}, writing {whose}"))
    if replay.renamed:
        lines.append(Text(f"{replay.renamed} keep their verdict by another rule."))
    if replay.passed_over:
        lines.append(Text(f"{replay.passed_over} more were decided by no rule."))
    return Group(*lines)
