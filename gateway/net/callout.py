"""Asking a host whether a mailbox exists: RCPT from the null sender, and no message."""

from __future__ import annotations

from gateway.model.address import Mailbox
from gateway.model.envelope import Recipient
from gateway.model.reply import Reply
from gateway.model.route import Unanswered
from gateway.net.commands import rcpt_argument
from gateway.net.outcomes import Phase, Unsendable
from gateway.net.transaction import Session


async def ask_about(session: Session, mailbox: Mailbox) -> Reply | Unanswered:
    """The reply to RCPT; ADDRESS when this host cannot be asked about such an address, SILENT when MAIL was refused
    already. The transaction is left open, for whoever has the session to reset. Raises NoReply."""
    try:
        argument = rcpt_argument(Recipient(mailbox), session.extensions)
    except Unsendable:
        return Unanswered.ADDRESS
    utf8 = b"" if str(mailbox).isascii() else b" SMTPUTF8"
    sender = await session.ask(Phase.MAIL, b"MAIL FROM:<>" + utf8)
    if not sender.positive:
        return Unanswered.SILENT
    return await session.ask(Phase.RCPT, b"RCPT " + argument)
