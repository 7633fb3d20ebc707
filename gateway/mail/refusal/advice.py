"""Plain words for each cause: what happened, and what to do and not to do about it.

`admin` is for who runs the server that was refused, `sender` for who wrote the message. No SPF record is ever to be
changed because of a check made behind a relay: SPF can only be judged where a message arrives first (RFC 7208
appendix D), so for relayed mail the causes of authentication have other words.
"""

from __future__ import annotations

from gateway.mail.refusal.advice_mail import MAIL_ADVICE
from gateway.mail.refusal.advice_server import SERVER_ADVICE
from gateway.mail.refusal.cause import Advice, Blame, Cause

_BEHIND_A_RELAY = Advice(
    "The receiver judged the message behind a relay. There only the author's unbroken DKIM signature can still pass, "
    "and it is missing or was broken on the way.",
    "Find what changed the message: `waypost autopsy` on the returned copy names it. Then stop the relay from changing "
    "mail, or list the relay at the receiver as a gateway whose mail is not checked again.",
    "Your message was refused between two systems of the recipient. Tell their postmaster, and quote the innermost "
    "reply. If your mail carries no DKIM signature, ask your own administrator to have it signed.",
    "Do not change your SPF record, and do not add the relay (such as spf.protection.outlook.com) to it: that cannot "
    "make this pass, and it lets every customer of that provider send in your name.",
)
_ADVICE = SERVER_ADVICE | MAIL_ADVICE
_ALIKE = frozenset({Cause.NO_DMARC_RECORD, Cause.BROKEN_BEHIND_MICROSOFT})
"""Causes of authentication that a relay has no part in, or whose words speak of one already."""


def advise(cause: Cause, relayed: bool) -> Advice:
    """What to say about a cause. `relayed`: the server that was refused had the message from elsewhere."""
    if relayed and cause.blame is Blame.AUTHENTICATION and cause not in _ALIKE:
        return _BEHIND_A_RELAY
    return _ADVICE[cause]
