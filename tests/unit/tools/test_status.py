"""What `waypost status` makes of the facts: the worst state, the first sentence, and one view over all workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gateway.model.delivery import Backlog
from gateway.model.value import replace
from gateway.service.certificates import CertificateCondition
from gateway.service.sending_limits import Suspension
from gateway.tools.status import MapCondition, StatusFacts, render_status, status_json

NOW = 1_800_000_000.0


def worker(number: int = 0, **other: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "number": number, "workers": 1, "pid": 100 + number, "since": NOW - 60, "restarts": 0, "version": "1",
        "hindrance": "", "routes": [lane("inside")], "pending_restart": [], "alarms": [],
        "storage": {"free_octets": 10**9, "reserve_octets": 10**7, "refusing": False},
    }  # fmt: skip
    return {**made, **other}


def lane(name: str, state: str = "open", seconds: float = 0.0, reason: str = "") -> dict[str, Any]:
    return {"name": name, "state": state, "seconds": seconds, "reason": reason, "window": 5, "connections": 1}


INDEX = {"state": "ready", "messages": 7, "behind": 0, "octets": 4096, "unreadable": 0}
CONTROL = {
    "pid": 99, "since": NOW - 60, "memory_octets": 10**7, "memory_limit_octets": 10**9, "cpu_seconds": 1.5,
    "index": INDEX,
}  # fmt: skip
FACTS = StatusFacts(
    now=NOW,
    version="1",
    node="mx.gateway.example",
    spool="/var/spool/waypost",
    connections={"inside": 8},
    problem="",
    workers=[worker()],
    silent=[],
    backlogs=[],
    held_by_rule=0,
    hour={"accepted": 0, "quarantined": 0, "refused": 0, "deferred": 0, "reasons": []},
    free=10**9,
    reserve=10**7,
    certificates=[],
    maps=[],
    suspended=[],
    control=CONTROL,
)
OK_SENTENCE = "Mail is taken and delivered by 1 worker; 0 transfers wait."
CERTIFICATE = CertificateCondition("listener mx", Path("/etc/c.pem"), ("a.example",), NOW + 5, "soon", "it ends soon")
ALARM = {"kind": "dns-outage", "since": NOW - 5, "text": "dns-outage: no answers", "fix": "look"}


@pytest.mark.parametrize(
    ("changes", "state", "sentence"),
    [
        ({}, "ok", "Mail is taken and delivered by 1 worker; 0 transfers wait."),
        ({"workers": []}, "error", "No gateway runs on /var/spool/waypost."),
        ({"silent": ["Worker 1 does not run"]}, "error", "Worker 1 does not run."),
        (
            {"control": "stopped"},
            "warning",
            "The control plane does not run, and is started again by itself: search is slower.",
        ),
        (
            {"control": "silent"},
            "warning",
            "The control plane does not answer, and is replaced after half a minute: search is slower.",
        ),
        ({"control": "stopped", "workers": [worker(since=NOW - 2)]}, "ok", OK_SENTENCE),
        ({"control": {**CONTROL, "index": {**INDEX, "state": "catching-up", "behind": 5}}}, "ok", OK_SENTENCE),
        (
            {"control": {**CONTROL, "index": {**INDEX, "state": "no-room"}}},
            "warning",
            "The index of `waypost find` waits for room on the spool's disk: search is slower.",
        ),
        (
            {"control": {**CONTROL, "index": {**INDEX, "state": "broken"}}},
            "warning",
            "The index of `waypost find` cannot be written, as the log says: search is slower.",
        ),
        ({"problem": "line 1"}, "error", "The configuration has mistakes, which `waypost check` shows."),
        ({"workers": [worker(hindrance="draining")]}, "warning", "The gateway takes no new mail, because it drains."),
        (
            {"workers": [worker(routes=[lane("inside", "paused", 30, "no")])]},
            "warning",
            "The route inside is paused until 2027-01-15T08:00:30Z (no): 0 transfers wait.",
        ),
        (
            {"workers": [worker(routes=[lane("inside", "stopped", 30, "no")])]},
            "error",
            "The route inside is stopped until 2027-01-15T08:00:30Z (no): 0 transfers wait.",
        ),
        (
            {"backlogs": [Backlog("inside", 1, 0, NOW - 7200)]},
            "warning",
            "Mail for the route inside is late: 1 transfer waits, the oldest for 2 h.",
        ),
        ({"certificates": [CERTIFICATE]}, "warning", "The certificate of listener mx needs a look: it ends soon."),
        (
            {"certificates": [replace(CERTIFICATE, state="ended")]},
            "error",
            "The certificate of listener mx needs a look: it ends soon.",
        ),
        ({"maps": [MapCondition("a.csv", 5.0, "stale", "old")]}, "warning", "The address map a.csv is stale: old."),
        (
            {"suspended": [Suspension("sender printer", NOW, "by an admin")]},
            "warning",
            "The sender printer may not send until `waypost outbound resume printer`.",
        ),
        (
            {"workers": [worker(pending_restart=["limits"])]},
            "warning",
            "Changed settings wait for a restart: limits.",
        ),
        ({"workers": [worker(alarms=[ALARM])]}, "warning", "An alarm is open: dns-outage: no answers."),
    ],
)
def test_each_kind_of_trouble(changes: dict[str, Any], state: str, sentence: str) -> None:
    tree = status_json(replace(FACTS, **changes))
    assert (tree["state"], tree["sentence"]) == (state, sentence)


def test_the_worst_is_said_first_and_the_others_are_counted() -> None:
    tree = status_json(replace(FACTS, certificates=[CERTIFICATE], silent=["Worker 1 does not run"], problem="x"))
    assert tree["sentence"] == (
        "The configuration has mistakes, which `waypost check` shows. 2 more things need a look."
    )


def test_several_workers_are_one_view() -> None:
    full = {"free_octets": 5, "reserve_octets": 10, "refusing": True}
    workers = [
        worker(1, routes=[lane("inside", "paused", 30, "no")], alarms=[ALARM], storage=full),
        worker(0, alarms=[{**ALARM, "since": NOW - 9}]),
    ]
    tree = status_json(replace(FACTS, workers=workers))
    (route,) = tree["routes"]
    assert (route["state"], route["reason"], route["connections"], route["window"]) == ("paused", "no", 2, 8)
    assert [one["since"] for one in tree["alarms"]] == ["2027-01-15T07:59:51Z"]
    assert [one["number"] for one in tree["workers"]] == [0, 1]
    assert (tree["storage"], tree["state"]) == (full, "error")


def test_the_screen_begins_with_the_sentence_and_moves_no_cursor() -> None:
    tree = status_json(replace(FACTS, workers=[worker(routes=[lane("inside", "paused", 30, "\x1b[2J no")])]))
    console = Console(width=300)
    with console.capture() as captured:
        console.print(render_status(tree))
    assert captured.get().startswith("The route inside is paused")
    assert "\x1b[2J" not in captured.get()
