"""Alarms: sent once, by every courier, even if one of them fails."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.model.envelope import Mailbox
from gateway.model.event import Alarm, Event, Level
from gateway.net.http_map import Webhook
from gateway.ports import SpoolFull
from gateway.service.alarms import Alarms, Courier, MailCourier, fan_out
from gateway.service.open_alarms import AlarmFile
from tests.support.fake_spool import FakeSpool
from tests.support.spooling import HandClock


class Carrier:
    """Records its alarms; fails a given number of times."""

    def __init__(self, name: str = "carrier", failures: int = 0) -> None:
        self.name = name
        self.failures = failures
        self.told: list[Sequence[Alarm]] = []

    async def tell(self, alarms: Sequence[Alarm]) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("unreachable")
        self.told.append(alarms)


class Bench:
    def __init__(self, *couriers: Courier) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.clock = HandClock()
        self.log: list[Event] = []
        self.alarms = self.worker(0, *couriers)

    def worker(self, number: int, *couriers: Courier) -> Alarms:
        return Alarms(couriers, self.clock, self.log.append, AlarmFile(self.directory, 3600.0), number, 2)

    def happen(self, name: str = "route-closed", level: Level = Level.ALARM, **fields: str) -> None:
        self.alarms(Event(name, "m1", tuple(fields.items()), level))

    async def settle(self) -> None:
        """Run until all possible alarms are sent."""
        running = asyncio.create_task(self.alarms.run())
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.service.alarms._GATHER", 0.01)
    monkeypatch.setattr("gateway.service.alarms._PAUSES", (0.01, 0.01))


async def test_told_once() -> None:
    carrier = Carrier()
    bench = Bench(carrier)
    for reply in ("a", "b", "c"):
        bench.happen(backend="google", reply=reply)
    bench.happen(backend="microsoft")
    bench.happen(backend="google", level=Level.WARNING, name="other")
    await bench.settle()
    (together,) = carrier.told
    assert [alarm.title for alarm in together] == ["route-closed (backend google)", "route-closed (backend microsoft)"]
    bench.clock.time += 3601
    bench.happen(backend="google")
    await bench.settle()
    assert [(alarm.title, alarm.repeated) for alarm in carrier.told[1]] == [("route-closed (backend google)", 2)]


@pytest.mark.parametrize("about", ["account", "file", "listener"])
async def test_what_it_is_about_tells_alarms_apart(about: str) -> None:
    """A second sender suspended within the hour is a new alarm."""
    carrier = Carrier()
    bench = Bench(carrier)
    for one in ("a", "b", "a"):
        bench.happen(**{about: one}, reason="more than 500 messages in an hour")
    await bench.settle()
    (together,) = carrier.told
    assert [alarm.title for alarm in together] == [f"route-closed ({about} a)", f"route-closed ({about} b)"]


async def test_several_workers_tell_it_once() -> None:
    carrier, other = Carrier(), Carrier()
    bench = Bench(carrier)
    second = bench.worker(1, other)
    bench.happen(backend="google")
    second(Event("route-closed", "m2", (("backend", "google"),), Level.ALARM))
    second(Event("route-closed", "m2", (("backend", "microsoft"),), Level.ALARM))
    running = asyncio.create_task(second.run())
    await bench.settle()
    running.cancel()
    assert [alarm.title for alarms in carrier.told for alarm in alarms] == ["route-closed (backend google)"]
    assert [alarm.title for alarms in other.told for alarm in alarms] == ["route-closed (backend microsoft)"]


async def test_each_courier_is_tried_again_by_itself() -> None:
    good, lame, dead = Carrier("good"), Carrier("lame", 2), Carrier("dead", 99)
    bench = Bench(dead, lame, good)
    bench.happen()
    await bench.settle()
    assert (len(good.told), len(lame.told), len(dead.told)) == (1, 1, 0)
    failed = [dict(event.fields)["courier"] for event in bench.log if event.name == "alarm-not-told"]
    assert (failed.count("lame"), failed.count("dead"), failed.count("good")) == (2, 3, 0)
    assert {event.level for event in bench.log} == {Level.WARNING, Level.INFO}, "no alarm about alarms"
    await bench.alarms.close()


async def test_a_flood_is_bounded() -> None:
    carrier = Carrier()
    bench = Bench(carrier)
    for number in range(5000):
        bench.happen(backend=str(number))
    await bench.settle()
    told = sum(map(len, carrier.told))
    assert 0 < told <= 1000
    assert max(map(len, carrier.told)) <= 50


async def test_what_found_no_room_is_told_when_it_happens_again() -> None:
    carrier = Carrier()
    bench = Bench(carrier)
    for number in range(1000):
        bench.happen(backend=str(number))
    bench.happen(backend="late")
    second = bench.worker(1, other := Carrier())
    await bench.settle()
    second(Event("route-closed", "m2", (("backend", "late"),), Level.ALARM))
    bench.happen(backend="late")
    running = asyncio.create_task(second.run())
    await bench.settle()
    running.cancel()
    titles = [alarm.title for alarms in (*carrier.told, *other.told) for alarm in alarms]
    assert titles.count("route-closed (backend late)") == 1


async def test_what_no_courier_could_bring_is_told_when_it_happens_again() -> None:
    lame, dead = Carrier("lame", 3), Carrier("dead", 99)
    bench = Bench(lame, dead)
    bench.happen(backend="google")
    await bench.settle()
    assert lame.told == []
    for _ in range(3):
        bench.happen(backend="google")
    await bench.settle()
    assert [alarm.title for alarms in lame.told for alarm in alarms] == ["route-closed (backend google)"]
    await bench.alarms.close()


def test_fan_out_outlives_a_sink_that_fails() -> None:
    def fail(event: Event) -> None:
        raise UnicodeError(event.name)

    heard: list[Event] = []
    fan_out(fail, heard.append)(Event("x", "m1"))
    assert [(event.name, event.id) for event in heard] == [("error", "m1"), ("x", "m1")]


def test_fan_out() -> None:
    first: list[Event] = []
    second: list[Event] = []
    event = Event("x", "")
    fan_out(first.append, second.append)(event)
    assert (first, second) == ([event], [event])


async def test_mail_goes_through_the_spool() -> None:
    clock = HandClock()
    spool, woken = FakeSpool(clock), []
    to = [Mailbox("admin", "ops.example", "ops.example"), Mailbox("b", "corp.example", "corp.example")]
    courier = MailCourier(to, "gw.example", spool, clock, lambda box: f"to-{box.domain}", lambda: woken.append(1))
    await courier.tell([Alarm("error", "", 0.0, (("where", "claim"),))])
    claims = await spool.claim((), 10, clock.now() + 1, 60)
    assert {(str(claim.transfer.rcpts[0].mailbox), claim.transfer.backend) for claim in claims} == {
        ("admin@ops.example", "to-ops.example"),
        ("b@corp.example", "to-corp.example"),
    }
    assert all(claim.transfer.mail_from is None for claim in claims)
    assert b"error (where claim)" in (claims[0].message.content.data or b"")
    assert woken
    spool.failures["commit"].append(SpoolFull())
    with pytest.raises(SpoolFull):
        await courier.tell([Alarm("error", "", 0.0, ())])


class Listener:
    """An HTTP server that keeps posted bodies and answers with one status."""

    def __init__(self) -> None:
        self.status = "204 No Content"
        self.posted: list[tuple[str, bytes]] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
        self.posted.append((head, await reader.readexactly(length)))
        writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?key=1"
    yield listener
    server.close()


async def test_webhook(listener: Listener) -> None:
    webhook = Webhook(listener.url, "gw.example")
    await webhook.tell([Alarm("route-closed", "m1", 5.0, (("backend", "google"), ("fix", "Do ü.")), 2)])
    ((head, body),) = listener.posted
    assert head.startswith("POST /hook?key=1 ")
    assert "application/json" in head
    said = json.loads(body)
    assert said["gateway"] == "gw.example"
    assert said["text"].startswith("gw.example: route-closed (backend google)\n")
    assert said["alarms"] == [
        {
            "name": "route-closed",
            "title": "route-closed (backend google)",
            "id": "m1",
            "at": 5.0,
            "fields": {"backend": "google", "fix": "Do ü."},
            "repeated": 2,
        }
    ]


@pytest.mark.parametrize("status", ["500 Oops", "404 Not Found", "302 Found\r\nLocation: /", "301 x\r\nLocation: /"])
async def test_webhook_that_refuses(listener: Listener, status: str) -> None:
    listener.status = status
    with pytest.raises(OSError, match=status[:3]):
        await Webhook(listener.url, "gw.example").tell([Alarm("a", "", 0.0, ())])


async def test_webhook_that_is_not_there() -> None:
    with pytest.raises(OSError, match="refused"):
        await Webhook("http://127.0.0.1:1/", "gw.example").tell([Alarm("a", "", 0.0, ())])
