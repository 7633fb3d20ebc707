"""The window, the pauses and the stop: invariants under any answers of a backend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.delivery import Outcome, OutcomeKind, Scope
from gateway.model.envelope import Recipient
from gateway.model.reply import Reply
from gateway.policy.flow import BackendFlow, Sign, allow, give_up, learn, read_sign, start
from tests.support.sending import mailbox

MOST = 20
BOB = Recipient(mailbox("bob@corp.example"))


def told(flow: BackendFlow, *signs: Sign, busy: int = MOST, now: float = 0.0) -> BackendFlow:
    for sign in signs:
        flow = learn(flow, sign, busy, MOST, now)
    return flow


steps = st.lists(
    st.tuples(st.sampled_from(Sign), st.booleans(), st.floats(0, 400), st.integers(0, MOST)), min_size=1, max_size=60
)


@given(steps)
def test_bounds_hold_whatever_happens(taken: list[tuple[Sign, bool, float, int]]) -> None:
    """At least one attempt is possible in time, never more than the limit, and trouble allows one at a time."""
    flow, now = BackendFlow(), 0.0
    for sign, begins, seconds, busy in taken:
        now += seconds
        if begins and allow(flow, busy, now):
            flow = start(flow)
        flow = give_up(learn(flow, sign, busy, MOST, now))
        assert 1 <= flow.window <= MOST
        assert 0 <= allow(flow, busy, now) <= MOST - min(busy, MOST) or flow.troubled
        assert allow(flow, 0, now + 301) >= 1, "no backend is left alone for ever"
        if flow.troubled:
            assert allow(flow, 0, now + 301) == 1
            assert flow.until <= now + 300
            assert allow(start(flow), 0, now + 1000) == 0, "one probe at a time"


@given(st.integers(1, 200))
def test_success_alone_opens_the_window_to_its_limit(most: int) -> None:
    flow = BackendFlow(min(5.0, most))
    for count in range(most + 5):
        assert allow(flow, 0, 0.0) <= min(5 + count, most), "it opens by one for each success"
        flow = learn(flow, Sign.DELIVERED, most, most, 0.0)
    assert allow(flow, 0, 0.0) == most
    assert allow(flow, most, 0.0) == 0


def test_window_opens_only_while_it_is_used() -> None:
    flow = BackendFlow()
    for _ in range(50):
        flow = learn(flow, Sign.DELIVERED, 1, MOST, 0.0)
    assert flow.window <= 7


def test_resistance_closes_the_window() -> None:
    flow = told(BackendFlow(10.0), Sign.RESISTED, Sign.RESISTED)
    assert (allow(flow, 0, 0.0), flow.pause) == (8, 0)
    flow = told(flow, Sign.DELIVERED, Sign.RESISTED)
    assert allow(flow, 0, 0.0) == 8


def test_a_whole_window_of_resistance_is_a_pause() -> None:
    flow = BackendFlow(4.0)
    count = 0
    while not flow.pause:
        flow = told(flow, Sign.RESISTED)
        count += 1
    assert count == 3, "each one counts for more as the window closes"
    assert (flow.pause, allow(flow, 0, 4.9), allow(flow, 0, 5.1)) == (5, 0, 1)
    assert told(BackendFlow(4.0), Sign.RESISTED, Sign.ANSWERED, Sign.RESISTED, Sign.ANSWERED).pause == 0


def test_pauses_double_up_to_five_minutes() -> None:
    flow, now, seen = BackendFlow(), 0.0, []
    for _ in range(9):
        flow = learn(flow, Sign.UNREACHED, 1, MOST, now)
        seen.append(flow.pause)
        now = flow.until
        flow = start(flow)
    assert seen == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    back = learn(flow, Sign.ANSWERED, 1, MOST, now)
    assert (back.troubled, back.window) == (False, 5), "slow start again"


def test_attempts_that_fail_together_count_once() -> None:
    flow = told(BackendFlow(), *[Sign.UNREACHED] * 7)
    assert flow.pause == 5


def test_a_route_that_blames_us_again_and_again_is_stopped() -> None:
    flow = told(BackendFlow(), Sign.BLAMED, Sign.BLAMED, now=100.0)
    assert not flow.stopped
    assert not told(flow, Sign.DELIVERED, Sign.BLAMED).stopped, "in a row"
    assert told(flow, Sign.ANSWERED, Sign.BLAMED, now=100.0).stopped, "a refused recipient between is no delivery"
    flow = told(flow, Sign.BLAMED, now=100.0)
    assert (flow.stopped, allow(flow, 0, 159.0), allow(flow, 0, 160.0)) == (True, 0, 1)
    probed = told(start(flow), Sign.BLAMED, now=160.0)
    assert (allow(probed, 0, 219.0), allow(probed, 0, 220.0)) == (0, 1), "probed each minute, for ever"
    assert told(start(probed), Sign.ANSWERED, now=220.0).stopped, "only a delivery proves that we are taken again"
    back = told(start(probed), Sign.DELIVERED, now=220.0)
    assert (back.stopped, allow(back, 0, 220.0)) == (False, 5)


def test_a_stopped_route_that_cannot_be_reached_is_still_stopped() -> None:
    flow = told(BackendFlow(), *[Sign.BLAMED] * 3, now=0.0)
    flow = told(start(flow), Sign.UNREACHED, now=60.0)
    assert (flow.stopped, flow.pause) == (True, 5)
    flow = told(start(flow), Sign.DELIVERED, now=70.0)
    assert not flow.troubled


def outcome(code: int, detail: str, text: str, kind: OutcomeKind, scope: Scope, remote: str = "mx.example") -> Outcome:
    return Outcome(BOB, kind, Reply(code, detail, text), scope, remote)


TAKEN = outcome(250, "0.0", "ok", OutcomeKind.DELIVERED, Scope.MESSAGE)
REFUSED = outcome(550, "1.1", "who", OutcomeKind.FAILED, Scope.RECIPIENT)
BUSY = outcome(451, "7.500", "busy", OutcomeKind.DEFERRED, Scope.SITE)
SILENT = outcome(451, "4.1", "refused", OutcomeKind.DEFERRED, Scope.SITE, "")
NO_PTR = outcome(550, "7.25", "no PTR", OutcomeKind.DEFERRED, Scope.OURS)
DMARC = outcome(550, "7.1", "DMARC policy", OutcomeKind.DEFERRED, Scope.OURS)
BUG = outcome(451, "3.0", "internal", OutcomeKind.DEFERRED, Scope.OURS, "")


@pytest.mark.parametrize(
    ("outcomes", "sign"),
    [
        ((TAKEN, NO_PTR), Sign.DELIVERED),
        ((REFUSED, TAKEN), Sign.DELIVERED),
        ((REFUSED,), Sign.ANSWERED),
        ((REFUSED, SILENT), Sign.ANSWERED),
        ((BUSY, SILENT), Sign.RESISTED),
        ((SILENT, SILENT), Sign.UNREACHED),
        ((NO_PTR,), Sign.BLAMED),
        ((NO_PTR, REFUSED), Sign.BLAMED),
        ((BUG,), Sign.NOTHING),
    ],
)
def test_sign(outcomes: tuple[Outcome, ...], sign: Sign) -> None:
    assert read_sign(outcomes, authenticated=False) is sign


def test_a_stranger_s_forgery_stops_no_route() -> None:
    """A backend that refuses by DMARC a message that failed DMARC here judges its sender: otherwise anyone could stop a
    route."""
    assert read_sign((DMARC,), authenticated=True) is Sign.BLAMED
    assert read_sign((DMARC,), authenticated=False) is Sign.ANSWERED
