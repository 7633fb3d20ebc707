"""Plain words for each cause, from `advice.toml`: the event, the remedy, and the mistakes to avoid."""

from __future__ import annotations

import tomllib
from pathlib import Path

from gateway.mail.refusal.cause import Advice, Blame, Cause

_TEXTS = tomllib.loads(Path(__file__).with_name("advice.toml").read_text("utf-8"))


def _read(name: str) -> Advice:
    texts = _TEXTS[name]
    return Advice(texts["summary"], texts["admin"], texts["sender"], texts.get("never", ""), texts.get("waits", False))


_BEHIND_A_RELAY = _read("relayed")
_ADVICE = {cause: _read(cause) for cause in Cause}
_ALIKE = frozenset({Cause.NO_DMARC_RECORD, Cause.ANTI_SPOOFING})
"""Causes of authentication that a relay does not influence."""


def advise(cause: Cause, relayed: bool) -> Advice:
    """The advice on a cause. `relayed`: the refused server had received the message from another one."""
    if relayed and cause.blame is Blame.AUTHENTICATION and cause not in _ALIKE:
        return _BEHIND_A_RELAY
    return _ADVICE[cause]
