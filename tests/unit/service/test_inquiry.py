"""The cases in which a backend's answer about a mailbox counts, and the frequency of questions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.config.edge import Limits
from gateway.model.envelope import IPText, Mailbox, Recipient
from gateway.model.event import Event
from gateway.model.message import Capabilities, Route, Unanswered
from gateway.model.reply import Reply
from gateway.service.inquiry import Budget, Callout
from gateway.service.tally import SharedCounts
from tests.support.sending import mailbox

OK = Reply(250, "1.5", "OK")
NO = Reply(550, "1.1", "No such user")
PLAIN = Reply(550, "", "No")
BLAME = Reply(550, "7.1", "Your address is on a list")
LATER = Reply(451, "3.0", "Later")
CLIENT = IPText("192.0.2.1")


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0
        self.count = 0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def jitter(self) -> float:
        return 0.0

    def new_id(self) -> str:
        self.count += 1
        return f"id{self.count}"


class Backend:
    """Answers questions from a function of the local part."""

    name = "corp"

    def __init__(self, answer: Callable[[str], Reply | Unanswered]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.says: Capabilities | None = Capabilities(7, True)
        """The capabilities that it announces."""
        self.known = self.says

    def capabilities(self) -> Capabilities | None:
        return self.known

    async def verify(self, mailbox: Mailbox) -> Reply | Unanswered:
        self.asked.append(mailbox.local)
        await self.gate.wait()
        answer = self.answer(mailbox.local)
        if isinstance(answer, Reply):
            self.known = self.says
        return answer


def knows(*names: str, refusal: Reply = NO) -> Callable[[str], Reply]:
    """Postmaster exists everywhere (RFC 5321 section 4.5.1)."""
    return lambda local: OK if local in (*names, "postmaster") else refusal


def callout(backend: Backend, clock: Clock | None = None, **limits: int) -> tuple[Callout, list[Event]]:
    events: list[Event] = []
    return Callout({"corp": backend}, clock or Clock(), events.append, Limits(**limits), SharedCounts().tally()), events  # type: ignore[dict-item, arg-type]


async def unknown(asking: Callout, *names: str, client: IPText = CLIENT) -> list[bool]:
    return [await asking.is_unknown(mailbox(f"{name}@corp.example"), "corp", client) for name in names]


async def test_a_proven_backend_is_believed_and_asked_once() -> None:
    backend = Backend(knows("bob"))
    asking, events = callout(backend)
    assert await unknown(asking, "bob", "eve", "bob", "eve", "EVE") == [False, True, False, True, True]
    assert backend.asked == ["no-such-id1", "bob", "eve"]
    assert [event.name for event in events] == ["callout-proof", "callout", "callout"]


@pytest.mark.parametrize(
    ("answer", "questions"),
    [
        (lambda local: OK, 1),
        (lambda local: BLAME, 1),
        (lambda local: LATER, 1),
        (lambda local: Unanswered.SILENT, 1),
        (lambda local: PLAIN, 1),
    ],
)
async def test_a_backend_that_proves_nothing_refuses_nobody(
    answer: Callable[[str], Reply | Unanswered], questions: int
) -> None:
    backend = Backend(answer)
    asking, _ = callout(backend)
    assert await unknown(asking, "bob", "eve", "dave") == [False, False, False]
    assert len(backend.asked) == questions


async def test_a_backend_that_says_5_1_1_to_everybody_refuses_nobody() -> None:
    """Such an answer is also given for a domain that the backend no longer serves."""
    backend, clock = Backend(lambda local: NO), Clock()
    asking, events = callout(backend, clock)
    assert await unknown(asking, "bob", "eve") == [False, False]
    assert backend.asked == ["no-such-id1", "bob", "postmaster", "eve"]
    assert [dict(event.fields)["unknown"] for event in events if event.name == "callout"] == [False, False]
    clock.time += 61
    backend.answer = knows()
    assert await unknown(asking, "dave") == [True]
    assert backend.asked[4:] == ["dave", "postmaster"]


async def test_who_took_somebody_lately_is_believed_without_a_question_more() -> None:
    backend, clock = Backend(knows("bob")), Clock()
    asking, _ = callout(backend, clock)
    assert await unknown(asking, "bob", "eve") == [False, True]
    assert backend.asked == ["no-such-id1", "bob", "eve"]
    clock.time += 601
    backend.answer = lambda local: NO
    assert await unknown(asking, "carol") == [False], "in the meantime it may have ceased to serve the domain"


async def test_a_backend_that_starts_to_refuse_everything_with_550_alone_refuses_nobody() -> None:
    """550 without an enhanced code may be about us, even if postmaster is accepted (RFC 5321 section 4.5.1)."""
    backend = Backend(knows("bob", "postmaster", refusal=PLAIN))
    asking, _ = callout(backend)
    assert await unknown(asking, "bob", "eve") == [False, False]
    proven = Backend(knows("bob"))
    asking, _ = callout(proven)
    assert await unknown(asking, "eve") == [True]
    proven.answer = lambda local: PLAIN
    assert await unknown(asking, "bob", "dave") == [False, False]


@pytest.mark.parametrize("reply", [BLAME, LATER, PLAIN, *Unanswered])
async def test_of_a_proven_backend_only_the_proven_refusal_counts(reply: Reply | Unanswered) -> None:
    backend = Backend(lambda local: NO if local.startswith("no-such") else reply)
    asking, _ = callout(backend)
    assert await unknown(asking, "bob") == [False]


async def test_a_new_mailbox_is_noticed_and_a_proof_grows_old() -> None:
    clock = Clock()
    backend = Backend(knows("bob"))
    asking, _ = callout(backend, clock)
    assert await unknown(asking, "eve") == [True]
    backend.answer = knows("bob", "eve")
    clock.time += 301
    assert await unknown(asking, "eve") == [False]
    backend.answer = lambda local: OK
    clock.time += 3600
    assert await unknown(asking, "dave") == [False]
    assert backend.asked == ["no-such-id1", "eve", "postmaster", "eve", "no-such-id2"]


async def test_questions_about_one_mailbox_at_once_are_one() -> None:
    backend = Backend(knows("bob"))
    asking, _ = callout(backend)
    backend.gate.clear()
    both = [asyncio.create_task(unknown(asking, "eve")) for _ in range(5)]
    await asyncio.sleep(0.01)
    backend.gate.set()
    assert await asyncio.gather(*both) == [[True]] * 5
    assert backend.asked == ["no-such-id1", "eve", "postmaster"]


async def test_a_backend_that_falls_silent_is_left_alone_for_a_minute() -> None:
    clock = Clock()
    backend = Backend(knows("bob"))
    asking, _ = callout(backend, clock)
    assert await unknown(asking, "eve") == [True]
    backend.answer = lambda local: Unanswered.SILENT
    assert await unknown(asking, "a", "b", "c", "eve") == [False, False, False, True]
    assert backend.asked == ["no-such-id1", "eve", "postmaster", "a"]
    backend.answer = knows("bob")
    clock.time += 61
    assert await unknown(asking, "b") == [True]


async def test_who_waits_too_long_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.service.inquiry._PATIENCE", 0.05)
    backend = Backend(knows("bob"))
    asking, _ = callout(backend)
    backend.gate.clear()
    assert await unknown(asking, "eve") == [False]
    backend.gate.set()
    await asyncio.sleep(0.01)
    assert await unknown(asking, "eve") == [True]
    await asking.close()


async def test_close_ends_what_is_being_asked() -> None:
    backend = Backend(knows("bob"))
    asking, _ = callout(backend)
    backend.gate.clear()
    waiting = asyncio.create_task(unknown(asking, "eve"))
    await asyncio.sleep(0.01)
    await asking.close()
    assert await waiting == [False]


async def test_beyond_the_budget_nobody_is_asked_and_everybody_accepted() -> None:
    clock = Clock()
    backend = Backend(knows("bob"))
    asking, _ = callout(backend, clock, callouts_per_client=4, callouts_per_backend=5)
    assert await unknown(asking, "a", "b", "c") == [True, True, False]
    assert await unknown(asking, "d", "e", client=IPText("192.0.2.2")) == [True, False]
    assert backend.asked == ["no-such-id1", "a", "postmaster", "b", "d"], "the random name counts as well"
    assert await unknown(asking, "a") == [True], "what is known costs nothing"
    clock.time += 60
    assert await unknown(asking, "c") == [True]


async def test_a_proof_is_made_once_for_all_who_wait_for_it() -> None:
    backend = Backend(knows("bob"))
    asking, _ = callout(backend)
    backend.gate.clear()
    waiting = [asyncio.create_task(unknown(asking, name)) for name in ("bob", "eve", "dave")]
    await asyncio.sleep(0.01)
    assert backend.asked == ["no-such-id1"]
    backend.gate.set()
    assert await asyncio.gather(*waiting) == [[False], [True], [True]]
    assert backend.asked == ["no-such-id1", "bob", "eve", "dave"]


@pytest.mark.parametrize("nothing", [Unanswered.ADDRESS, Unanswered.NO_ROOM])
async def test_what_is_not_about_the_backend_does_not_silence_it(nothing: Unanswered) -> None:
    backend = Backend(lambda local: nothing if local == "jürgen" else knows()(local))
    asking, _ = callout(backend)
    assert await unknown(asking, "eve", "jürgen", "dave") == [True, False, True]
    assert backend.asked == ["no-such-id1", "eve", "postmaster", "jürgen", "dave"], "the proof stays"


async def test_no_room_for_a_proof_is_forgotten_at_once() -> None:
    backend = Backend(lambda local: Unanswered.NO_ROOM)
    asking, events = callout(backend)
    assert await unknown(asking, "eve") == [False]
    assert events == []
    backend.answer = knows("bob")
    assert await unknown(asking, "eve") == [True]


def test_an_ipv6_client_is_its_network() -> None:
    budget = Budget(2, 10, SharedCounts().tally())
    answers = [budget.take(IPText(f"2001:db8::{last}"), "corp", 0.0) for last in (1, 2, 3)]
    assert answers == [True, True, False]
    assert budget.take(IPText("2001:db8:0:1::1"), "corp", 0.0)


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.service.inquiry._MOST_REMEMBERED", 3)
    backend = Backend(knows("bob"))
    asking, _ = callout(backend)
    await unknown(asking, "a", "b", "c", "d")
    assert len(asking._unknown) == 3
    assert await unknown(asking, "d") == [True]
    assert backend.asked.count("d") == 1


async def test_a_backend_that_is_not_configured_tells_nothing() -> None:
    asking, _ = callout(Backend(knows()))
    assert asking.capabilities("corp") == Capabilities(7, True)
    assert asking.capabilities("other") is None
    assert await asking.is_unknown(mailbox("a@corp.example"), "other", CLIENT) is False


@pytest.mark.parametrize(
    ("known", "says", "answer", "takes", "questions"),
    [
        (Capabilities(0, True, chunking=True), None, OK, True, 0),
        (Capabilities(0, True), None, OK, False, 0),
        (None, Capabilities(0, True, chunking=True), NO, True, 1),
        (None, Capabilities(0, True), OK, False, 1),
        (None, None, OK, False, 1),
        (None, None, Unanswered.SILENT, None, 1),
    ],
    ids=["known to", "known not to", "greeted, and does", "greeted, and does not", "differs by recipient", "silent"],
)
async def test_whether_a_backend_takes_chunks(
    known: Capabilities | None,
    says: Capabilities | None,
    answer: Reply | Unanswered,
    takes: bool | None,
    questions: int,
) -> None:
    backend = Backend(lambda local: answer)
    backend.known, backend.says = known, says
    asking, _ = callout(backend)
    route = Route("corp", (Recipient(mailbox("bob@corp.example")),))
    assert await asking.takes_chunks(route, CLIENT) is takes
    assert len(backend.asked) == questions
