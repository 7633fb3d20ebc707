"""Whether a return path is the sender's own."""

from __future__ import annotations

from gateway.mail.domain import is_subdomain
from gateway.model.address import Mailbox
from gateway.model.result import Authentication, DkimVerdict, SpfIdentity, SpfVerdict


def is_proven(mail_from: Mailbox | None, results: Authentication) -> bool:
    """Its domain lets this client send, or has signed the message."""
    if mail_from is None:
        return False
    if results.spf.result is SpfVerdict.PASS and results.spf.identity is SpfIdentity.MAILFROM:
        return True
    domain = mail_from.ascii_domain
    signers = (one.domain for one in results.dkim if one.result is DkimVerdict.PASS)
    return any(domain == signer or is_subdomain(domain, signer) for signer in signers)
