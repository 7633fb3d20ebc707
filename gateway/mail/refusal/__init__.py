"""Refusals: from an SMTP reply to the refusing and the refused party, the cause, and the remedy.

Codes alone are not enough: providers give the same number different meanings, and a relay wraps the next server's
refusal in a status of its own. So the innermost reply counts, by provider, code and text together.

    reading.py   the one function, `classify`, and its result
    nesting.py   a reply or a bounce's line -> the replies in it, outermost first
    provider.py  the provider of a server
    signs.py     the table: provider, code and text -> cause; its rows are in codes/
    cause.py     the causes, and the party that each blames
    advice.py    plain words and next steps for each cause, from advice.toml
"""

from __future__ import annotations

from gateway.mail.refusal.cause import Advice, Blame, Cause
from gateway.mail.refusal.provider import Provider
from gateway.mail.refusal.reading import Refusal, Witness, classify, classify_outcome, classify_text, classify_words

__all__ = [
    "Advice",
    "Blame",
    "Cause",
    "Provider",
    "Refusal",
    "Witness",
    "classify",
    "classify_outcome",
    "classify_text",
    "classify_words",
]
