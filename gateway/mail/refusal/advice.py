"""Plain words for each cause: what happened, and what to do and not to do about it. They stand in `advice.toml`."""

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
"""Causes of authentication that a relay has no part in."""


def advise(cause: Cause, relayed: bool) -> Advice:
    """What to say about a cause. `relayed`: the server that was refused had the message from elsewhere."""
    if relayed and cause.blame is Blame.AUTHENTICATION and cause not in _ALIKE:
        return _BEHIND_A_RELAY
    return _ADVICE[cause]
