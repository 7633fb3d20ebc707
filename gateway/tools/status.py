"""`waypost status`: the facts from the spool, the configuration and the running workers, as one view for people and
programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gateway.mail.printable import clean
from gateway.model.decision import Action
from gateway.model.delivery import Backlog, Trace
from gateway.model.value import Value
from gateway.service.certificates import CertificateCondition
from gateway.service.sending_limits import Suspension
from gateway.tools.queue import show_span
from gateway.tools.results import Json, render_section, safe_json

OK, WARNING, ERROR = "ok", "warning", "error"
_RANKS = (OK, WARNING, ERROR)
_OLD = 3600.0
"""Seconds after which waiting mail is a warning."""
_MOST_REASONS = 10
_DAY = 86_400.0

Worker = Mapping[str, Any]
"""One worker's answer to `status` on its control socket."""


class HourCounts:
    """The messages of the last hour, by decision."""

    def __init__(self) -> None:
        self._actions: Counter[Action] = Counter()
        self._reasons: Counter[str] = Counter()

    def add(self, trace: Trace) -> None:
        decision = trace.decision
        self._actions[decision.action] += 1
        if decision.action is not Action.ACCEPT:
            self._reasons[decision.rule] += 1

    def as_json(self) -> dict[str, Json]:
        """`accepted` are the messages that were delivered or are held without a mark; greylisted mail counts as
        deferred."""
        actions = self._actions
        return {
            "accepted": actions[Action.ACCEPT] + actions[Action.HOLD],
            "quarantined": actions[Action.QUARANTINE],
            "refused": actions[Action.REJECT],
            "deferred": actions[Action.DEFER] + actions[Action.GREYLIST],
            "reasons": [{"rule": rule, "count": count} for rule, count in self._reasons.most_common(_MOST_REASONS)],
        }


class MapCondition(Value):
    """One address map: a file, or the copy of a fetched one."""

    name: str
    age: float | None
    """Seconds since the file changed, or since a fetched map was last found good; None when the file is missing."""
    state: str
    """`good`, `stale`, `unreadable`."""
    problem: str = ""


class StatusFacts(Value):
    """The inputs of the view."""

    now: float
    version: str
    node: str
    spool: str
    connections: Mapping[str, int]
    """The maximum of connections of each configured backend."""
    problem: str
    """The reason why the configuration cannot be read; empty when it can. Values that depend on it are then empty,
    too."""
    workers: Sequence[Worker]
    """The answers of the running workers."""
    silent: Sequence[str]
    """The reasons of workers without an answer."""
    backlogs: Sequence[Backlog]
    held_by_rule: int
    hour: dict[str, Json]
    free: int
    """Octets free on the spool's disk."""
    reserve: int
    certificates: Sequence[CertificateCondition]
    maps: Sequence[MapCondition]
    suspended: Sequence[Suspension]
    control: Mapping[str, Any] | str | None
    """The answer of the control plane, or the reason why there is none; None while no gateway runs."""


class Trouble(Value):
    """One point that needs attention."""

    state: str
    text: str


def status_json(facts: StatusFacts) -> dict[str, Any]:
    """The view as plain values."""
    backlogs, storage = facts.backlogs, _find_storage(facts)
    oldest = [one.oldest for one in backlogs if one.oldest is not None]
    pending = sorted({name for one in facts.workers for name in one["pending_restart"]})
    tree: dict[str, Any] = {
        "state": OK,
        "sentence": "",
        "version": next((one["version"] for one in facts.workers), facts.version),
        "node": facts.node,
        "routes": [_describe_route(name, facts) for name in _find_routes(facts)],
        "queue": {
            "waiting": sum(one.waiting for one in backlogs),
            "oldest_seconds": _age(min(oldest), facts.now) if oldest else None,
            "held": sum(one.held for one in backlogs),
            "held_by_rule": facts.held_by_rule,
        },
        "hour": facts.hour,
        "storage": storage,
        "certificates": [_describe_certificate(one, facts.now) for one in facts.certificates],
        "maps": [
            {"name": one.name, "age_seconds": None if one.age is None else round(one.age), "state": one.state}
            for one in facts.maps
        ],
        "pending_restart": pending,
        "suspended": [one.account for one in facts.suspended],
        "alarms": _join_alarms(facts.workers),
        "workers": [_describe_worker(one) for one in sorted(facts.workers, key=lambda one: int(one["number"]))],
        "control": _describe_control(facts),
    }
    troubles = sorted(_find_troubles(facts, tree), key=lambda one: -_RANKS.index(one.state))
    tree["state"] = troubles[0].state if troubles else OK
    tree["sentence"] = _say(facts, tree, troubles)
    found = safe_json(tree)
    assert isinstance(found, dict)
    return found


def _find_routes(facts: StatusFacts) -> list[str]:
    """The configured backends, those that the workers know when the configuration cannot be read, and other backends
    with mail or faults."""
    known = [route for one in facts.workers for route in one["routes"]]
    seen = [route["name"] for route in known if facts.problem or route["state"] != "open"]
    return list(dict.fromkeys([*facts.connections, *seen, *sorted(one.backend for one in facts.backlogs)]))


def _describe_route(name: str, facts: StatusFacts) -> dict[str, Json]:
    """One route over all workers: the worst of their states."""
    backlog = next((one for one in facts.backlogs if one.backend == name), Backlog(name, 0, 0, None))
    seen = [route for one in facts.workers for route in one["routes"] if route["name"] == name]
    troubled = sorted(
        (one for one in seen if one["state"] != "open"), key=lambda one: (one["state"] != "stopped", one["seconds"])
    )
    worst = troubled[0] if troubled else None
    busy = backlog.waiting > 0 or any(one["connections"] for one in seen)
    state = worst["state"] if worst else "delivering" if seen and busy else "idle"
    most = facts.connections.get(name)
    window = sum(one["window"] for one in seen)
    return {
        "name": name,
        "state": state,
        "until": _iso(facts.now + worst["seconds"]) if worst else None,
        "reason": worst["reason"] if worst else None,
        "waiting": backlog.waiting,
        "oldest_seconds": None if backlog.oldest is None else _age(backlog.oldest, facts.now),
        "connections": sum(one["connections"] for one in seen) if seen else None,
        "window": (min(window, most) if most else window) if seen else None,
    }


def _find_storage(facts: StatusFacts) -> dict[str, Json]:
    """The worst of the workers' states; without any, the state of the file system."""
    if facts.workers:
        worst = min(
            (one["storage"] for one in facts.workers), key=lambda one: (not one["refusing"], one["free_octets"])
        )
        return dict(worst)
    return {"free_octets": facts.free, "reserve_octets": facts.reserve, "refusing": facts.free < facts.reserve}


def _describe_certificate(one: CertificateCondition, now: float) -> dict[str, Json]:
    return {
        "where": one.where,
        "names": list(one.names),
        "ends": None if one.ends is None else _iso(one.ends),
        "days": None if one.ends is None else int((one.ends - now) // _DAY),
        "state": one.state,
    }


def _join_alarms(workers: Sequence[Worker]) -> list[dict[str, Json]]:
    """The open alarms of all workers. An alarm that several raised appears once, with its first time."""
    found: dict[str, dict[str, Any]] = {}
    for alarm in sorted((one for worker in workers for one in worker["alarms"]), key=lambda one: float(one["since"])):
        found.setdefault(alarm["text"], {**alarm, "since": _iso(alarm["since"])})
    return list(found.values())


def _describe_worker(one: Worker) -> dict[str, Json]:
    return {"number": one["number"], "pid": one["pid"], "since": _iso(one["since"]), "restarts": one["restarts"]}


_STARTING = 15.0
"""Seconds after the start of the gateway within which the control plane need not answer."""


def _describe_control(facts: StatusFacts) -> dict[str, Json] | None:
    """The process, what it uses of what it may use, and its index; null while no gateway runs."""
    if facts.control is None:
        return None
    if isinstance(facts.control, str):
        young = any(facts.now - float(one["since"]) < _STARTING for one in facts.workers)
        return {
            "pid": None,
            "since": None,
            "state": "starting" if young else facts.control,
            "memory_octets": None,
            "memory_limit_octets": None,
            "cpu_seconds": None,
            "index": None,
        }
    index = facts.control["index"]
    return {**facts.control, "since": _iso(facts.control["since"]), "state": index["state"]}


def _find_troubles(facts: StatusFacts, tree: Mapping[str, Any]) -> Iterator[Trouble]:
    """The points that need attention, each in a sentence without its full stop. The first of the worst becomes the
    view's."""
    if not facts.workers and not facts.silent:
        yield Trouble(ERROR, f"No gateway runs on {facts.spool}")
    if facts.problem:
        yield Trouble(ERROR, "The configuration has mistakes, which `waypost check` shows")
    yield from (Trouble(ERROR, text) for text in facts.silent)
    if tree["storage"]["refusing"]:
        free = show_octets(tree["storage"]["free_octets"])
        yield Trouble(ERROR, f"New mail is refused for lack of room: {free} are free on the spool's disk")
    elif any(one["hindrance"] == "draining" for one in facts.workers):
        yield Trouble(WARNING, "The gateway takes no new mail, because it drains")
    for route in tree["routes"]:
        yield from _find_route_trouble(route)
    for one in facts.certificates:
        if one.state != "good":
            state = WARNING if one.state in ("soon", "foreign") else ERROR
            yield Trouble(state, f"The certificate of {one.where} needs a look: {one.problem}")
    for map in facts.maps:
        if map.state != "good":
            yield Trouble(WARNING, f"The address map {map.name} is {map.state}: {map.problem}")
    for account in tree["suspended"]:
        yield Trouble(
            WARNING, f"The {account} may not send until `waypost outbound resume {account.split(' ', 1)[-1]}`"
        )
    if tree["pending_restart"]:
        yield Trouble(WARNING, f"Changed settings wait for a restart: {', '.join(tree['pending_restart'])}")
    yield from _find_control_trouble(tree["control"])
    for alarm in tree["alarms"]:
        yield Trouble(WARNING, f"An alarm is open: {alarm['text']}")


def _find_control_trouble(control: Mapping[str, Any] | None) -> Iterator[Trouble]:
    state = control["state"] if control else ""
    if state == "stopped":
        yield Trouble(WARNING, "The control plane does not run, and is started again by itself: search is slower")
    elif state == "silent":
        yield Trouble(
            WARNING, "The control plane does not answer, and is replaced after half a minute: search is slower"
        )
    elif state == "no-room":
        yield Trouble(WARNING, "The index of `waypost find` waits for room on the spool's disk: search is slower")
    elif state == "broken":
        yield Trouble(WARNING, "The index of `waypost find` cannot be written, as the log says: search is slower")


def _find_route_trouble(route: Mapping[str, Any]) -> Iterator[Trouble]:
    heap = f"{_count(route['waiting'], 'transfer waits', 'transfers wait')}"
    if route["oldest_seconds"] is not None:
        heap += f", the oldest for {show_span(route['oldest_seconds'])}"
    if route["state"] in ("paused", "stopped"):
        state = ERROR if route["state"] == "stopped" else WARNING
        yield Trouble(
            state, f"The route {route['name']} is {route['state']} until {route['until']} ({route['reason']}): {heap}"
        )
    elif (route["oldest_seconds"] or 0) > _OLD:
        yield Trouble(WARNING, f"Mail for the route {route['name']} is late: {heap}")


def _say(facts: StatusFacts, tree: Mapping[str, Any], troubles: Sequence[Trouble]) -> str:
    """The first sentence: the worst point, and the number of the others."""
    waiting = _count(tree["queue"]["waiting"], "transfer waits", "transfers wait")
    if not troubles:
        return f"Mail is taken and delivered by {_count(len(facts.workers), 'worker', 'workers')}; {waiting}."
    more = len(troubles) - 1
    rest = f" {_count(more, 'more thing needs', 'more things need')} a look." if more else ""
    return f"{troubles[0].text}.{rest}"


def render_status(tree: Mapping[str, Any]) -> Group:
    """One screen: the sentence, the routes, and the other points."""
    queue, hour, storage = tree["queue"], tree["hour"], tree["storage"]
    table = Table(box=None, pad_edge=False, header_style="")
    for heading in ("route", "state", "waiting", "oldest", "connections", "reason"):
        table.add_column(heading, no_wrap=True)
    for route in tree["routes"]:
        until = f" until {route['until']}" if route["until"] else ""
        oldest = "" if route["oldest_seconds"] is None else show_span(route["oldest_seconds"])
        used = "" if route["connections"] is None else f"{route['connections']} of {route['window']}"
        row = (route["name"], f"{route['state']}{until}", str(route["waiting"]), oldest, used, route["reason"] or "")
        table.add_row(*(Text(clean(cell)) for cell in row))
    reasons = ", ".join(f"{one['rule']} {one['count']}" for one in hour["reasons"])
    refusing = ", new mail is refused" if storage["refusing"] else ""
    lines = [
        f"Held: {queue['held_by_rule']} by a rule, {queue['held']} transfers by hand or for damage.",
        f"Last hour: {hour['accepted']} accepted, {hour['quarantined']} quarantined, {hour['refused']} refused, "
        f"{hour['deferred']} deferred{f' ({reasons})' if reasons else ''}.",
        f"Disk: {show_octets(storage['free_octets'])} free, {show_octets(storage['reserve_octets'])} of it kept in "
        f"reserve{refusing}.",
    ]
    workers = (
        f"{one['number']}: pid {one['pid']}, since {one['since']}, {one['restarts']} restarts"
        for one in tree["workers"]
    )
    certificates = (
        f"{one['where']}: {', '.join(one['names']) or 'no name'}, {one['state']}, "
        f"{'end unknown' if one['ends'] is None else _ending(one)}"
        for one in tree["certificates"]
    )
    maps = (
        f"{one['name']}: {one['state']}, {'never fetched' if one['age_seconds'] is None else _old(one)}"
        for one in tree["maps"]
    )
    alarms = (f"{one['text']}, since {one['since']}: {one['fix']}" for one in tree["alarms"])
    return Group(
        Text(clean(tree["sentence"]), "bold"),
        Text(f"{tree['state']}; waypost {tree['version']} on {tree['node'] or 'an unknown host'}"),
        Text(),
        table,
        Text(),
        *(Text(clean(line)) for line in lines),
        *render_section("Open alarms", alarms),
        *render_section("Certificates", certificates),
        *render_section("Address maps", maps),
        *render_section("Suspended", tree["suspended"]),
        *render_section("Settings that wait for a restart", tree["pending_restart"]),
        *render_section("Workers", workers),
        *render_section("Control plane", _tell_control(tree["control"])),
    )


def _tell_control(control: Mapping[str, Any] | None) -> Iterator[str]:
    if control and control["pid"] is None:
        yield control["state"]
    elif control:
        index = control["index"]
        behind = f", {index['behind']} traces behind" if index["behind"] else ""
        yield (
            f"pid {control['pid']}, since {control['since']}, {show_octets(control['memory_octets'])} of "
            f"{show_octets(control['memory_limit_octets'])} memory, {control['cpu_seconds']} s of processor time"
        )
        yield f"index: {index['state']}, {index['messages']} messages, {show_octets(index['octets'])}{behind}"


def _ending(certificate: Mapping[str, Any]) -> str:
    return f"ends {certificate['ends']} ({certificate['days']} days)"


def _old(map: Mapping[str, Any]) -> str:
    return f"{show_span(map['age_seconds'])} old"


def show_octets(octets: int) -> str:
    """An amount in its largest unit."""
    for size, unit in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")):
        if octets >= size:
            return f"{octets / size:.1f} {unit}"
    return f"{octets} octets"


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _age(since: float, now: float) -> int:
    return max(0, round(now - since))


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
