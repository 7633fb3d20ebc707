"""Advice for causes that lie with the sender, the message, the recipient or the receiving site."""

from __future__ import annotations

from gateway.mail.refusal.cause import Advice, Cause

_WAIT = "Nothing yet: the message is tried again by itself."
_ASK_ADMIN = "Show this to your mail administrator: it is nothing that you did."
_OTHER_WAY = "Tell the recipient in another way."

MAIL_ADVICE: dict[Cause, Advice] = {
    Cause.SENDER_DENIED: Advice(
        "The account that logged in may not send from this address.",
        "Give the account the right to send as that address, or correct the address in the device or program.",
        "Send from your own address.",
        "",
    ),
    Cause.SENDER_BLOCKED: Advice(
        "The provider has stopped the sending account, domain or tenant.",
        "Look for a stolen account or unwanted bulk mail, end it, then ask the provider to lift the block.",
        _ASK_ADMIN,
        "",
    ),
    Cause.SENDER_UNKNOWN: Advice(
        "The sender's address or domain does not exist, takes no mail, or could not be checked.",
        "See that the domain in MAIL FROM has MX or address records and that the mailbox takes mail.",
        "Check the sender's address in your program.",
        "",
    ),
    Cause.SENDING_LIMIT: Advice(
        "The account has sent as much as its provider allows in a day.",
        "Wait until the limit is over, or spread the mail over several senders that really send it.",
        "Send again tomorrow.",
        "",
    ),
    Cause.SPAM: Advice(
        "The receiver takes the message for spam.",
        "Ask the receiver's administrator to look it up by the id in the reply; see what else leaves this server.",
        "Leave out links and attachments that may look wrong, or tell the recipient in another way.",
        "",
    ),
    Cause.BLOCKED_CONTENT: Advice(
        "The message holds something that the receiver does not take: a file type, a link, or what it holds for "
        "malware.",
        "Check the message for malware.",
        "Share the file in another way.",
        "Do not rename or encrypt the file only to get past the filter.",
    ),
    Cause.RULE: Advice(
        "A rule that the recipient's own administrator made refused the message.",
        "Ask the recipient's administrator which rule it was.",
        "Ask the recipient to have it allowed. " + _OTHER_WAY,
        "",
    ),
    Cause.POLICY: Advice(
        "The receiver refused the message by its rules and does not say by which.",
        "Read the reply's own words and the page it names; ask the receiver's administrator.",
        _OTHER_WAY,
        "",
    ),
    Cause.MALFORMED: Advice(
        "The message does not keep to the format of mail: a field is missing, is there twice or is broken.",
        "Correct the program that writes the message: one From, one Date, one Message-ID.",
        "Send it with another program. " + _ASK_ADMIN,
        "",
    ),
    Cause.BARE_NEWLINE: Advice(
        "The message has line ends that are no CRLF, which servers refuse since they allow smuggling.",
        "Correct the program that writes the message: each line ends in CRLF.",
        "Send it with another program. " + _ASK_ADMIN,
        "",
    ),
    Cause.TOO_BIG: Advice(
        "The message is bigger than the receiver takes.",
        "Announce on the way in only the size that the next server takes.",
        "Send it in parts, or share the files by a link.",
        "",
    ),
    Cause.HEADER_TOO_BIG: Advice(
        "The header of the message is bigger than the receiver takes.",
        "Look for a server that adds the same fields over and over, or for a very long list of recipients.",
        "Send it to fewer recipients at a time.",
        "",
    ),
    Cause.CONVERSION: Advice(
        "The receiver cannot take the message in the form it has, and changing it would break its signatures.",
        "Route it to a server that offers 8BITMIME.",
        "Send it as plain text or with attachments only.",
        "",
    ),
    Cause.UTF8: Advice(
        "The receiver takes no addresses or header fields outside ASCII.",
        "Route such mail to a server that offers SMTPUTF8.",
        "Use an address in plain Latin letters.",
        "",
    ),
    Cause.LOOP: Advice(
        "The message went in a circle.",
        "See by its Received lines which two servers pass it to each other, and correct the route of one. For a split "
        "domain: each half must know which recipients are not its own.",
        _ASK_ADMIN,
        "",
    ),
    Cause.UNKNOWN_RECIPIENT: Advice(
        "The mailbox does not exist.",
        "If the mailbox does exist elsewhere, correct the route or the list of recipients.",
        "Check the address for a slip, or ask the recipient for the right one.",
        "",
    ),
    Cause.DIRECTORY: Advice(
        "The receiving tenant does not know the recipient, and its domain is set as Authoritative, so mail for unknown "
        "recipients is refused at the edge.",
        "For a domain split over several systems set it to InternalRelay, or create mail users for the others.",
        "Check the address for a slip, or ask the recipient for the right one.",
        "",
    ),
    Cause.NO_SUCH_DOMAIN: Advice(
        "The recipient's domain does not exist, or has no server for mail.",
        "If the domain is your own, check its MX records.",
        "Check the part of the address after the @.",
        "",
    ),
    Cause.NULL_MX: Advice(
        "The domain says that it takes no mail.",
        "If the domain is your own and should take mail, replace its null MX record.",
        "Check the part of the address after the @.",
        "",
    ),
    Cause.MAILBOX_FULL: Advice(
        "The mailbox is full.",
        "If the mailbox is in your care, make room in it.",
        "Tell the recipient in another way, and send again later.",
        "",
    ),
    Cause.MAILBOX_DISABLED: Advice(
        "The mailbox is switched off.",
        "If the mailbox is in your care, switch it on or remove it from the directory.",
        _OTHER_WAY,
        "",
    ),
    Cause.RECIPIENT_RESTRICTED: Advice(
        "The mailbox or group takes mail only from certain senders.",
        "If outsiders should reach it, change its delivery restrictions.",
        "Ask a member of the group, or its owner, to be allowed.",
        "",
    ),
    Cause.RECIPIENT_RATE: Advice(
        "The mailbox gets more mail at the moment than the provider allows.",
        "Look whether you send it the same alarm again and again.",
        _WAIT,
        "",
    ),
    Cause.THROTTLED: Advice(
        "The receiver slows the sending address down, because it is new to it or sends more than usual.",
        "Let the queue work it off. If the server is your own tenant's, list the address in its inbound connector.",
        _WAIT,
        "Do not spread the mail over other addresses: each of them is new, too.",
    ),
    Cause.RATE: Advice(
        "Too much mail at once from this address, network or domain, or the same message too often.",
        "Send slower, and look for a program or account that sends unwanted mail.",
        _WAIT,
        "",
    ),
    Cause.TOO_MANY_CONNECTIONS: Advice(
        "The server has too many connections at the moment.",
        "Use fewer connections to this server.",
        _WAIT,
        "",
    ),
    Cause.TOO_MANY_RECIPIENTS: Advice(
        "Too many recipients in one transaction.",
        "Send the rest in a further transaction.",
        "Send it to fewer recipients at a time.",
        "",
    ),
    Cause.GREYLISTED: Advice(
        "The receiver lets unknown senders wait.",
        "Nothing: the next attempt, some minutes later and from the same address, is taken.",
        _WAIT,
        "",
    ),
    Cause.SERVER_TROUBLE: Advice(
        "The receiving server has trouble of its own.",
        "Try its next address; nothing is wrong on this side.",
        _WAIT,
        "",
    ),
    Cause.DNS_TROUBLE: Advice(
        "DNS gave no answer that was needed for delivery.",
        "Ask for the recipient's MX and its addresses: if no name can be resolved, your own resolver is at fault.",
        _WAIT,
        "",
    ),
    Cause.UNREACHABLE: Advice(
        "The receiving server could not be reached, or broke the connection off.",
        "Try port 25 of the host by hand: if no server can be reached, the port is blocked on your side.",
        _WAIT,
        "",
    ),
    Cause.EXPIRED: Advice(
        "The message was tried until its time was over.",
        "Look in the log for the last answer before: that is the cause.",
        "Send it again later, or tell the recipient in another way.",
        "",
    ),
    Cause.UNKNOWN: Advice(
        "The receiver refused the message; its own words are all there is.",
        "Read the reply's own words and the page it names; ask the receiver's administrator.",
        _OTHER_WAY,
        "",
    ),
}
