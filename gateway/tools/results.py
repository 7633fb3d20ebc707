"""Results, decision and routes as plain JSON values, alike in every tool.

Keys are always present; an empty value is null, or [] for a list. Domains are lower-case A-labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias

from rich.text import Text

from gateway.model.decision import Decision, RuleHit
from gateway.model.delivery import Trace
from gateway.model.dnsdata import Lookup
from gateway.model.result import ArcResult, ArcVerdict, Authentication, DmarcResult, SpfResult
from gateway.tools import texts
from gateway.tools.narrative import clean


def render_section(title: str, lines: Iterable[str]) -> list[Text]:
    """A heading and its lines; empty when there are none."""
    shown = [Text(f"  {clean(line)}") for line in lines]
    return [Text(), Text(title, "bold"), *shown] if shown else []


def show_times(epoch: float) -> str:
    """A moment, in UTC and in the time of this machine."""
    local = datetime.fromtimestamp(int(epoch)).astimezone()
    if not local.utcoffset():
        return show_time(epoch)
    return texts.HERE.format(utc=show_time(epoch), local=local.strftime("%Y-%m-%d %H:%M:%S %z"))


def show_time(epoch: float) -> str:
    """A moment, in UTC."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


class Newlines(StrEnum):
    """The line ends of a file, and their treatment."""

    CRLF = "crlf"
    CONVERTED = "converted"
    """There was no CRLF at all, so each LF was read as one."""
    MIXED = "mixed"
    """Bare CR or LF stay unchanged, because a test may be about them."""


def read_lines(octets: bytes, raw: bool) -> tuple[bytes, Newlines]:
    """The octets to judge. With `raw` nothing is ever converted."""
    if not raw and b"\r\n" not in octets and b"\n" in octets:
        return octets.replace(b"\n", b"\r\n"), Newlines.CONVERTED
    pairs = octets.count(b"\r\n")
    clean = octets.count(b"\n") == pairs and octets.count(b"\r") == pairs
    return octets, Newlines.CRLF if clean else Newlines.MIXED


Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_SPF: dict[str, Json] = {"result": None, "domain": None, "identity": None, "reason": None}
_ARC: dict[str, Json] = {"result": None, "oldest_pass": None, "sealers": []}


def safe_json(tree: dict[str, Json]) -> dict[str, Json]:
    """The same tree with lone surrogates as escapes. They stand for octets that are not UTF-8, and can be neither
    printed nor stored as UTF-8."""
    return {name: _escape(item) for name, item in tree.items()}


def _escape(value: Json) -> Json:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return safe_json(value) if isinstance(value, dict) else value


def results_json(trace: Trace) -> dict[str, Json]:
    """`spf`, `dkim`, `arc` and `dmarc`. Their values are null for a message that was refused before it was judged."""
    authentication = trace.authentication
    if authentication is None:
        return {"spf": dict(_SPF), "dkim": [], "arc": dict(_ARC), "dmarc": _dmarc(None, trace.decision)}
    return {
        "spf": spf_json(authentication.spf),
        "dkim": _dkim(authentication),
        "arc": _arc(authentication.arc),
        "dmarc": _dmarc(authentication.dmarc, trace.decision),
    }


def spf_json(spf: SpfResult) -> dict[str, Json]:
    """SPF for one identity."""
    return {
        "result": spf.result.value,
        "domain": spf.domain or None,
        "identity": spf.identity.value,
        "reason": spf.reason or None,
    }


def decision_json(decision: Decision) -> dict[str, Json]:
    """The decision. The reply is without the id that the client sees at its end."""
    return {
        "action": decision.action.value,
        "rule": decision.rule,
        "set": decision.rule_set,
        "reply": str(decision.reply),
        "considered": _hits(decision.considered),
        "shadow": [*_hits(decision.shadow), *_asides(decision)],
    }


def routes_json(trace: Trace) -> list[Json]:
    """Recipients with their backends."""
    return [{"rcpt": rcpt, "backend": backend} for rcpt, backend in trace.routes]


def lookup_json(lookup: Lookup) -> dict[str, Json]:
    """One DNS question and its answer."""
    return {
        "name": lookup.question.name,
        "type": lookup.question.type,
        "status": lookup.answer.status.value,
        "records": list(lookup.answer.records),
        "authentic": lookup.answer.authentic,
    }


def _dkim(authentication: Authentication) -> list[Json]:
    aligned = authentication.dmarc.dkim_aligned
    return [
        {
            "result": one.result.value,
            "domain": one.domain or None,
            "selector": one.selector or None,
            "algorithm": one.algorithm or None,
            "aligned": number < len(aligned) and aligned[number],
            "reason": one.reason or None,
        }
        for number, one in enumerate(authentication.dkim)
    ]


def _arc(arc: ArcResult) -> dict[str, Json]:
    oldest = arc.oldest_pass if arc.result is ArcVerdict.PASS else None
    return {"result": arc.result.value, "oldest_pass": oldest, "sealers": list(arc.sealers)}


def _dmarc(dmarc: DmarcResult | None, decision: Decision) -> dict[str, Json]:
    found: dict[str, Json] = {
        "result": None,
        "domain": None,
        "policy_domain": None,
        "published": None,
        "policy": None,
        "disposition": decision.disposition.value,
        "alignment": {"spf": None, "dkim": None},
        "grounds": list(decision.grounds),
        "overrides": [{"type": one.type, "comment": one.comment} for one in decision.overrides],
        "reason": None,
    }
    if dmarc is not None:
        found |= {
            "result": dmarc.result.value,
            "domain": dmarc.domain or None,
            "policy_domain": dmarc.policy_domain or None,
            "published": dmarc.published.value if dmarc.published else None,
            "policy": dmarc.policy.value if dmarc.policy else None,
            "alignment": {"spf": dmarc.spf_aligned, "dkim": any(dmarc.dkim_aligned)},
            "reason": dmarc.reason or None,
        }
    return found


def _hits(hits: tuple[RuleHit, ...]) -> list[Json]:
    return [{"rule": hit.rule, "stage": hit.stage.value, "matched": hit.matched} for hit in hits]


def _asides(decision: Decision) -> list[Json]:
    """The decisions of other sets; `rule` and `set` as in the decision itself."""
    asides = [aside for aside in (decision.would, decision.shadow_set) if aside]
    return [{"action": aside.action.value, "rule": aside.rule, "set": aside.rule_set} for aside in asides]
