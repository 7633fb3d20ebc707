"""A real MxReception over a spool in memory: everything of a reception except the disk and the backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from gateway import app
from gateway.config.model import Config
from gateway.model.delivery import Claim, Intake, Outcome
from gateway.model.event import Event
from gateway.net.resolver import ZoneResolver
from gateway.net.system import SystemClock
from gateway.net.zone import build_zone
from gateway.ports import Clock, IntakeStore
from gateway.service.authenticator import Authenticator
from gateway.service.inquiry import Inquiry, NoInquiry
from gateway.service.reception import MxReception
from gateway.service.runtime import Deliverer, RuntimeConfig, Services
from tests.support.fake_spool import FakeSpool

ZONE: dict[str, Any] = {
    "b.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.b.example"]},
    "_dmarc.b.example": {"TXT": ["v=DMARC1; p=reject"]},
    "nomail.example": {"TXT": ["v=spf1 -all"]},
    "strict.example": {"TXT": ["v=spf1 -all"]},
    "_dmarc.strict.example": {"TXT": ["v=DMARC1; p=reject"]},
    "_dmarc.d.example": {"TXT": ["v=DMARC1; p=reject"]},
}
"""b.example's mail may come from loopback; strict.example declares that it sends no mail."""

DOMAINS = (("d.example", "one"), ("e.example", "two"))


class Spool(FakeSpool):
    """A spool that also keeps its intakes, in order."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.intakes: list[Intake] = []

    async def commit(self, intake: Intake) -> None:
        await super().commit(intake)
        self.intakes.append(intake)

    @property
    def kept(self) -> list[Intake]:
        """Receptions whose message was kept."""
        return [intake for intake in self.intakes if intake.message is not None]

    def content(self, intake: Intake) -> bytes:
        assert intake.message is not None
        content = intake.message.content
        return content.data if content.data is not None else self.files[content.path]


class Nobody:
    """Delivers nothing: no connection is ever free."""

    def admits(self, backend: str) -> bool:
        return True

    def reserve(self, backends: Sequence[str]) -> bool:
        return False

    def forgo(self, backends: Sequence[str]) -> None:
        pass

    async def send(self, claim: Claim) -> None:
        raise AssertionError("nothing was reserved")

    async def attempt(self, claim: Claim, deadline: float) -> Sequence[Outcome] | None:
        raise AssertionError("nothing was to be delivered")

    async def enqueue(self, backends: Sequence[str]) -> None:
        pass


def make_config(limits: Mapping[str, Any] | None = None) -> Config:
    return Config.model_validate(
        {
            "server": {"hostname": "mx.gate.example"},
            "listener": [{"address": "127.0.0.1:0"}],
            "domain": [{"name": name, "backend": backend} for name, backend in DOMAINS],
            "backend": {"one": {"hosts": ["127.0.0.1:9"]}, "two": {"hosts": ["127.0.0.1:9"]}},
            "limits": dict(limits or {}),
        }
    )


@cache
def _make_law(limits: tuple[tuple[str, Any], ...]) -> RuntimeConfig:
    return app.make_runtime(make_config(dict(limits)))


def make_reception(
    spool: IntakeStore,
    limits: Mapping[str, Any] | None = None,
    events: list[Event] | None = None,
    inquiry: Inquiry | None = None,
    deliverer: Deliverer | None = None,
    clock: Clock | None = None,
) -> MxReception:
    """Serves d.example and e.example under the shipped rules, with the names of `ZONE`."""
    clock = clock or SystemClock()
    law = _make_law(tuple((limits or {}).items()))
    emit = (events if events is not None else []).append
    authenticator = Authenticator(ZoneResolver(build_zone(ZONE)), clock, 18.0)
    desk = Services(clock, spool, authenticator, deliverer or Nobody(), emit, inquiry or NoInquiry())
    return MxReception(desk, lambda: law)
