"""`waypost spf`: the networks of a domain's SPF record, and whether an address may send."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.text import Text

from gateway.diagnosis.records import texts
from gateway.diagnosis.records.spf_walk import MOST_LOOKUPS, MOST_VOID, SpfWalk, WalkFault
from gateway.model.result import SpfResult, SpfVerdict
from gateway.tools.narrative import clean
from gateway.tools.results import Json, render_section, safe_json, spf_json


def walk_json(walk: SpfWalk, verdict: SpfResult | None = None) -> dict[str, Json]:
    """Everything, for programs; `verdict` when an address was judged."""
    return safe_json(
        {
            "domain": walk.domain,
            "records": [
                {"domain": step.domain, "depth": step.depth, "record": step.record or None, "lookups": step.lookups}
                for step in walk.steps
            ],
            "networks": [
                {
                    "network": one.network,
                    "result": one.result,
                    "term": one.term,
                    "path": list(one.path),
                    "reached": one.reached,
                }
                for one in walk.networks
            ],
            "others": walk.last or None,
            "lookups": walk.lookups,
            "void_lookups": walk.void,
            "faults": [{"weight": one.weight, "domain": one.domain, "text": one.text} for one in walk.faults],
            "verdict": {**spf_json(verdict), "mechanism": verdict.mechanism or None} if verdict else None,
        }
    )


def is_sound(walk: SpfWalk) -> bool:
    """There is a record, and receivers can use it."""
    return bool(walk.steps and walk.steps[0].record) and not any(fault.weight == "error" for fault in walk.faults)


def render_walk(walk: SpfWalk) -> Group:
    """The networks that may send, each with the path of records to it."""
    parts = [Text(texts.SPF_TITLE.format(domain=walk.domain), "bold"), *_steps(walk)]
    networks = [_network_line(walk, at) for at in range(len(walk.networks))]
    parts += render_section(f"Networks ({len(networks)})", networks)
    parts += render_section("All others", [walk.last or texts.SILENT_ALL] if walk.steps else [])
    return Group(*parts, *_cost(walk), *_faults(walk.faults))


def render_check(walk: SpfWalk, verdict: SpfResult | None, address: str = "") -> Group:
    """The verdict for one address, if requested, and the faults of the record."""
    parts = [Text(texts.SPF_TITLE.format(domain=walk.domain), "bold")]
    parts += _steps(walk, sum(step.depth == 0 for step in walk.steps))
    if verdict is not None:
        style = "green" if verdict.result is SpfVerdict.PASS else "bold red"
        why = f" by {clean(verdict.mechanism)}" if verdict.mechanism else ""
        parts += [Text(), Text(f"{verdict.result}{why}", style)]
        if verdict.reason:
            parts.append(Text(f"  {clean(verdict.reason)}"))
    parts += [*_cost(walk), *_faults(walk.faults)]
    if not walk.faults and (verdict is None or verdict.result is SpfVerdict.PASS):
        parts += [Text(), Text(texts.SOUND, "green")]
    elif not walk.faults and verdict is not None and verdict.result in _UNLISTED:
        term = f"ip{6 if ':' in address else 4}:{address}"
        parts += [Text(), Text(clean(texts.NOT_LISTED.format(address=address, domain=walk.domain, term=term)))]
    return Group(*parts)


_UNLISTED = (SpfVerdict.FAIL, SpfVerdict.SOFTFAIL, SpfVerdict.NEUTRAL)


def _steps(walk: SpfWalk, most: int | None = None) -> list[Text]:
    shown = (
        (step.depth, texts.SPF_STEP.format(domain=step.domain, record=step.record or texts.NO_SPF_RECORD))
        for step in walk.steps[:most]
    )
    return [Text(clean(f"  {'    ' * depth}{line}")) for depth, line in shown]


def _network_line(walk: SpfWalk, at: int) -> str:
    one = walk.networks[at]
    width = max(len(other.network) for other in walk.networks)
    beyond = "" if one.reached else f"  {texts.BEYOND.format(most=MOST_LOOKUPS)}"
    result = "" if one.result == "pass" else f"  {one.result}"
    return f"{one.network.ljust(width)}  {' > '.join(one.path)}{result}{beyond}"


def _cost(walk: SpfWalk) -> list[Text]:
    void = texts.VOID_LOOKUPS.format(void=walk.void, most=MOST_VOID) if walk.void else ""
    return [Text(), Text(f"{texts.LOOKUPS.format(lookups=walk.lookups, most=MOST_LOOKUPS)}{void}")]


def _faults(faults: tuple[WalkFault, ...]) -> Iterator[Text]:
    if faults:
        yield Text()
    for fault in sorted(faults, key=lambda fault: fault.weight):
        style = "bold red" if fault.weight == "error" else "yellow"
        yield Text(clean(f"{fault.weight.capitalize()}: {fault.domain} {fault.text}"), style)
