"""The watch raises each alarm once, again after its period while it lasts, and clears it once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from gateway.config.maps import DIRECT
from gateway.config.model import Config
from gateway.model.delivery import Backlog
from gateway.model.event import Event, Level
from gateway.ports import Storage
from gateway.service.held_mail import StorageWatch
from gateway.service.open_alarms import OpenAlarm, OpenAlarms
from gateway.service.tally import Deaths, SharedCounts
from gateway.service.traffic import Share, Traffic
from gateway.service.watch import AlarmWatch, Subject
from tests.support.fake_spool import FakeSpool
from tests.support.spooling import HandClock


class Reader:
    def __init__(self) -> None:
        self.found: list[Backlog] = []

    async def backlogs(self) -> Sequence[Backlog]:
        return self.found


class Bench:
    def __init__(self, directory: Path) -> None:
        self.clock = HandClock()
        self.log: list[Event] = []
        self.told: list[Event] = []
        self.reader = Reader()
        self.deaths = Deaths(2)
        self.counts = SharedCounts(2)
        self.hindrance = ""
        self.ready = True
        self.lost = 0
        self.certificate = directory / "server.pem"
        self.issue(400)
        self.config = Config.model_validate(
            {
                "server": {"hostname": "mx.gateway.example", "spool": str(directory)},
                "listener": [{"name": "mx", "address": "127.0.0.1:25", "certificate": str(self.certificate)}],
                "domain": [{"name": "corp.example", "backend": "inside"}],
                "backend": {"inside": {"hosts": ["192.0.2.1"]}},
                "alarm": {"silent_after": 600, "queue_age": 7200, "repeat_after": 3600},
            }
        )
        self.watch = self.worker(0)

    def worker(self, number: int, before: Sequence[OpenAlarm] = ()) -> AlarmWatch:
        traffic = Traffic({"inside": Share(10)}, self.clock, self.log.append)
        subject = Subject(
            number=number,
            config=lambda: self.config,
            reader=self.reader,
            traffic=traffic,
            tally=self.counts.tally(number),
            deaths=self.deaths,
            hindrance=lambda: self.hindrance,
            is_ready=lambda number: self.ready,
            lost=lambda: self.lost,
        )
        return AlarmWatch(subject, self.clock, self.log.append, self.told.append, before)

    def issue(self, days: float) -> None:
        ends = datetime.fromtimestamp(self.clock.now(), UTC) + timedelta(days=days)
        starts = ends - timedelta(days=500)
        issued = trustme.CA().issue_cert("mx.gateway.example", not_before=starts, not_after=ends)
        self.certificate.write_bytes(issued.private_key_and_cert_chain_pem.bytes())

    async def pass_time(self, seconds: float, *others: AlarmWatch) -> list[str]:
        """Look every 20 seconds; the names of the new events."""
        before = len(self.log)
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.clock.time += 20.0
            for watch in (*others, self.watch):
                await watch.look()
        return [event.name for event in self.log[before:]]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_route_that_takes_nothing(bench: Bench) -> None:
    bench.reader.found = [Backlog("inside", 4, 0, bench.clock.now())]
    assert await bench.pass_time(580) == []
    assert await bench.pass_time(100) == ["route-silent"]
    fields = dict(bench.log[-1].fields)
    assert (fields["backend"], fields["waiting"], bench.log[-1].level) == ("inside", 4, Level.ALARM)
    assert 600 <= float(fields["oldest"]) <= 680
    # Not again within its period, and again after it.
    assert await bench.pass_time(3500) == []
    assert await bench.pass_time(200) == ["route-silent"]
    bench.reader.found = []
    assert await bench.pass_time(1000) == ["route-takes"]


async def test_a_route_that_takes_mail_from_another_worker_is_not_silent(bench: Bench) -> None:
    bench.reader.found = [Backlog("inside", 4, 0, bench.clock.now())]
    assert await bench.pass_time(500) == []
    # It has just begun, so it does not know yet whether the backend takes mail.
    young = bench.worker(1)
    assert await bench.pass_time(400, young) == []
    assert await bench.pass_time(300, young) == ["route-silent"]


async def test_old_mail(bench: Bench) -> None:
    bench.reader.found = [Backlog(DIRECT, 1, 0, bench.clock.now())]
    assert await bench.pass_time(7180) == []
    assert await bench.pass_time(100) == ["queue-old"]
    bench.reader.found = [Backlog(DIRECT, 1, 0, bench.clock.now())]
    assert await bench.pass_time(100) == ["queue-young"]


async def test_held_mail_is_no_old_mail(bench: Bench) -> None:
    bench.reader.found = [Backlog("inside", 0, 3, None)]
    assert await bench.pass_time(20_000) == []


async def test_a_certificate_is_told_at_14_and_at_3_days(bench: Bench) -> None:
    assert await bench.pass_time(100) == []
    bench.issue(13)
    assert await bench.pass_time(100) == ["certificate-ending"]
    bench.issue(2)
    assert await bench.pass_time(100) == ["certificate-urgent"]
    bench.certificate.write_text("nothing")
    assert await bench.pass_time(100) == ["certificate-unreadable"]
    bench.issue(100)
    assert await bench.pass_time(100) == ["certificate-good"]
    assert {dict(event.fields)["where"] for event in bench.log} == {"listener mx"}


async def test_a_death_is_told_once_and_so_is_the_successor(bench: Bench) -> None:
    bench.ready = False
    bench.deaths.add(1, -9)
    await bench.pass_time(100)
    assert [(event.name, event.fields) for event in bench.told] == [
        ("worker-died", (("worker", 1), ("status", -9), ("deaths", 1)))
    ]
    bench.ready = True
    await bench.pass_time(100)
    assert [event.name for event in bench.told] == ["worker-died", "worker-restored"]
    # The supervisor has written of it; a second line would be one too many.
    assert bench.log == []


async def test_a_successor_tells_of_the_death_before_it_and_of_no_older_ones(bench: Bench) -> None:
    for worker in (0, 1, 1):
        bench.deaths.add(worker, -9)
    await bench.worker(1).look()
    assert [(event.name, dict(event.fields)["worker"]) for event in bench.told] == [("worker-died", 1)]


async def test_a_long_drain_and_lost_lines(bench: Bench) -> None:
    bench.hindrance = "draining"
    assert await bench.pass_time(600) == []
    assert await bench.pass_time(100) == ["draining-long"]
    bench.hindrance, bench.lost = "", 7
    assert await bench.pass_time(1000) == ["log-lines-lost"]
    assert bench.log[-1].fields == (("lines", 7),)


async def test_little_room_is_told_before_mail_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[Event] = []
    spool = FakeSpool(HandClock())
    watch = StorageWatch(spool, log.append)

    async def look(free: int, takes: bool = True) -> list[tuple[str, Level]]:
        async def storage() -> Storage:
            return Storage(free, 0, 100, takes)

        monkeypatch.setattr(spool, "storage", storage)
        before = len(log)
        await watch.look()
        return [(event.name, event.level) for event in log[before:]]

    assert await look(800) == []
    assert await look(799) == [("storage-low", Level.ALARM)]
    assert await look(50, takes=False) == [("storage-refused", Level.ALARM)]
    assert await look(900) == [("storage-restored", Level.ALARM)]
    # It has to be well above the limit: otherwise each message would raise and clear it.
    assert await look(999) == []
    assert await look(1000) == [("storage-ample", Level.INFO)]


async def test_what_was_open_before_a_restart_is_cleared_when_its_cause_is_gone(bench: Bench) -> None:
    """Also for a backend and a certificate that are configured no longer."""
    alarms = OpenAlarms(3600.0)
    certificate = (("where", "listener mx"), ("file", str(bench.certificate)))
    for name, *about in (
        ("route-silent", ("backend", "inside")),
        ("queue-old", ("backend", "gone")),
        ("certificate-ending", *certificate),
        ("certificate-unreadable", ("where", "listener old"), ("file", "/etc/old.pem")),
        ("keyring-unreadable",),
        ("worker-died", ("worker", 1)),
        ("control-died", ("status", 9)),
    ):
        alarms.note(Event(name, "", tuple(about), Level.ALARM), bench.clock.now())  # type: ignore[arg-type]
    bench.watch = bench.worker(0, alarms.current(bench.clock.now()))
    names = await bench.pass_time(100)
    assert sorted(names) == ["certificate-good", "certificate-good", "keyring-read", "queue-young", "route-takes"]
    assert [event.name for event in bench.told] == ["worker-restored"]
    bench.deaths.note_control_up()
    await bench.pass_time(2)
    assert [event.name for event in bench.told] == ["worker-restored", "control-restored"]
    for event in (*bench.log, *bench.told):
        alarms.note(event, bench.clock.now())
    assert alarms.current(bench.clock.now()) == []


async def test_a_keyring_that_cannot_be_read(bench: Bench, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    bench.config = bench.config.model_copy(
        update={"outbound": bench.config.outbound.model_copy(update={"keyring": keys})}
    )
    assert await bench.pass_time(100) == []
    (keys / "keyring.toml").write_text("no keyring")
    assert await bench.pass_time(3500) == ["keyring-unreadable"]
    (keys / "keyring.toml").write_text("")
    assert await bench.pass_time(100) == ["keyring-read"]


async def test_storage_that_was_refused_before_a_restart_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[Event] = []
    spool = FakeSpool(HandClock())

    async def storage() -> Storage:
        return Storage(5000, 0, 100, True)

    monkeypatch.setattr(spool, "storage", storage)
    watch = StorageWatch(spool, log.append, {"storage-refused", "storage-low"})
    assert not watch.takes
    await watch.look()
    assert watch.takes
    assert [event.name for event in log] == ["storage-restored", "storage-ample"]
