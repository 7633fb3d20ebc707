"""Judges a message: the pure judgement over DNS, and over what is remembered of its sender where that counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from gateway.authentication.lookup import Window
from gateway.model.circumstances import NOTHING_REMEMBERED, Circumstances
from gateway.model.ingress import EdgeIngress
from gateway.model.message import Message
from gateway.model.result import DmarcVerdict
from gateway.plan.intake import Arrival
from gateway.plan.judgement import Bench, Judgement, judge
from gateway.plan.sighting import find_network
from gateway.ports import IntakeStore
from gateway.service.authenticator import Authenticator


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement and what it rests on."""

    judgement: Judgement
    window: Window
    circumstances: Circumstances = NOTHING_REMEMBERED


@dataclass(frozen=True, slots=True)
class Judge:
    """Drives `plan.judgement.judge`."""

    authenticator: Authenticator
    memory: IntakeStore

    async def judge(self, arrival: Arrival, message: Message, bench: Bench) -> Judged:
        """The judgement. What is remembered is read only where it can matter: where DMARC does not pass."""
        judgement, window = await self.authenticator.run(partial(_judge, arrival, message, bench, NOTHING_REMEMBERED))
        judged = Judged(judgement, window)
        dmarc, ingress = judgement.authentication.dmarc, arrival.ingress
        failing = dmarc.result in (DmarcVerdict.FAIL, DmarcVerdict.TEMPERROR)
        if not failing or not isinstance(ingress, EdgeIngress) or ingress.client is None:
            return judged
        history = await self.memory.recall(dmarc.domain, find_network(ingress.client))
        circumstances = replace(judged.circumstances, standing=history.standing)
        return again(judged, arrival, message, bench, circumstances)


def again(judged: Judged, arrival: Arrival, message: Message, bench: Bench, circumstances: Circumstances) -> Judged:
    """The same message under other circumstances: all DNS answers are there."""
    if circumstances == judged.circumstances:
        return judged
    return Judged(_judge(arrival, message, bench, circumstances, judged.window), judged.window, circumstances)


def _judge(arrival: Arrival, message: Message, bench: Bench, circumstances: Circumstances, window: Window) -> Judgement:
    evidence = message.evidence
    received, header = arrival.received, arrival.header
    return judge(arrival.ingress, arrival.envelope, evidence, window, received, bench, header, circumstances)
