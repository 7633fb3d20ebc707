"""The Sender Rewriting Scheme: a return path of our own for mail to a third party, which would judge SPF at our
address, and the way back for its bounces.

`author@first.example` becomes `SRS0=HASH=DAY=first.example=author@ours`. Another forwarder's `SRS0=...@second.example`
becomes `SRS1=HASH=second.example==...@ours`, and its bounces go back to that forwarder.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from gateway.mail.domain import a_label
from gateway.mail.path import mailbox as read_mailbox
from gateway.model.envelope import Mailbox
from gateway.model.value import Value

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_HASH = 12
"""Characters of a hash, always: 60 bits, in letters whose case may change on the way."""
_DAY = 86_400.0
_DAYS = 1024
"""The day is counted modulo this, so that it takes two characters."""
_LIFE = 21
"""Days for which a bounce finds its way back."""
_LONGEST = 255
"""Longest local part that we write, in octets; a longer result is not rewritten."""
_FLAGS = re.ASCII | re.IGNORECASE  # without ASCII, [A-Z] also takes the Kelvin sign and the dotted I
_OURS = re.compile(r"SRS[01][=+-]", _FLAGS)
_FIRST = re.compile(rf"SRS0[=+-]([A-Z2-7]{{{_HASH}}})=([A-Z2-7]{{2}})=([^=]+)=(.+)", _FLAGS)
_SECOND = re.compile(rf"SRS1[=+-]([A-Z2-7]{{{_HASH}}})=([^=]+)=([=+-].+)", _FLAGS)
_OTHERS_FIRST = re.compile(r"SRS0([=+-].+)", _FLAGS)
_OTHERS_SECOND = re.compile(r"SRS1[=+-][^=]+=([^=]+)=([=+-].+)", _FLAGS)


class Returned(Value):
    """A rewritten return path, read back."""

    mailbox: Mailbox
    day: int | None
    """The day of writing, modulo 1024; None when only the first forwarder knows it."""

    def is_late(self, now: float) -> bool:
        """True when it is older than any bounce should be, or from the future. `now` is in epoch seconds."""
        return self.day is not None and (int(now / _DAY) - self.day) % _DAYS > _LIFE


class Srs(Value):
    """Rewrites with the first secret, and recognises its own paths by all of them."""

    domain: str
    """Our domain (A-labels), to which bounces return."""
    secrets: tuple[bytes, ...]

    def rewrite(self, mailbox: Mailbox, now: float) -> Mailbox:
        """The return path for a third party. It stays unchanged when there is no room, and for a quoted local part,
        which few servers would pass on whole."""
        again, once = _OTHERS_SECOND.fullmatch(mailbox.local), _OTHERS_FIRST.fullmatch(mailbox.local)
        if again is not None:
            local = self._second(again[1], again[2])
        elif once is not None:
            local = self._second(mailbox.ascii_domain, once[1])
        else:
            day = int(now / _DAY) % _DAYS
            signed = f"{_DIGITS[day >> 5]}{_DIGITS[day & 31]}={mailbox.ascii_domain}={mailbox.local}"
            local = f"SRS0={self._hash(self.secrets[0], signed)}={signed}"
        unfit = mailbox.local.startswith('"') or mailbox.domain.startswith("[") or len(_octets(local)) > _LONGEST
        return mailbox if unfit else Mailbox(local, self.domain, self.domain)

    def claims(self, mailbox: Mailbox) -> bool:
        """The mailbox looks like one that we have written."""
        return mailbox.ascii_domain == self.domain and _OURS.match(mailbox.local) is not None

    def restore(self, mailbox: Mailbox) -> Returned | None:
        """The original return path; None for a mailbox that we have not written."""
        if not self.claims(mailbox):
            return None
        first, second = _FIRST.fullmatch(mailbox.local), _SECOND.fullmatch(mailbox.local)
        if first is not None:
            hash, day, domain, local = first.groups()
            found = read_mailbox(f"{local}@{domain}")
            good = found is not None and self._knows(hash, f"{day}={domain}={local}")
            number = _DIGITS.index(day[0].upper()) * 32 + _DIGITS.index(day[1].upper())
            return Returned(found, number) if found is not None and good else None
        if second is not None:
            hash, domain, rest = second.groups()
            found = read_mailbox(f"SRS0{rest}@{domain}")
            if found is not None and self._knows(hash, f"{domain}={rest}"):
                return Returned(found, None)
        return None

    def _second(self, domain: str, rest: str) -> str:
        name = a_label(domain) or domain
        return f"SRS1={self._hash(self.secrets[0], f'{name}={rest}')}={name}={rest}"

    def _knows(self, hash: str, signed: str) -> bool:
        given = _octets(hash.upper())  # compare_digest takes no str beyond ASCII
        return any(hmac.compare_digest(given, _octets(self._hash(secret, signed))) for secret in self.secrets)

    def _hash(self, secret: bytes, signed: str) -> str:
        # Letter case may change on the way.
        digest = hmac.digest(secret, _octets(signed.lower()), hashlib.sha256)
        return base64.b32encode(digest)[:_HASH].decode("ascii")


def _octets(text: str) -> bytes:
    """The octets of any text. An octet that is not UTF-8 is a lone surrogate in it."""
    return text.encode("utf-8", "surrogatepass")
