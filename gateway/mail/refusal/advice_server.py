"""Advice for causes that lie with authentication or with the server that was refused."""

from __future__ import annotations

from gateway.mail.refusal.cause import Advice, Cause

_WAIT = "Nothing yet: the message is tried again by itself."
_ASK_ADMIN = "Show this to your mail administrator: it is nothing that you did."

SERVER_ADVICE: dict[Cause, Advice] = {
    Cause.DMARC: Advice(
        "Neither SPF nor DKIM passed for the domain in From, and that domain's DMARC policy asks to refuse such mail.",
        "Sign with DKIM as the domain in From, and see that nothing changes the message after it is signed "
        "(`waypost autopsy` on a copy that was refused names what did).",
        "Send through a server that your domain has authorised, or ask your administrator to turn DKIM on.",
        "Do not weaken the DMARC policy to get one message through.",
    ),
    Cause.UNAUTHENTICATED: Advice(
        "Neither SPF nor DKIM passed, and the receiver takes no mail without one of them.",
        "Sign with DKIM as the domain in From, and list this server in that domain's SPF record if it is its own.",
        "Send through your domain's own server. " + _ASK_ADMIN,
        "",
    ),
    Cause.SPF: Advice(
        "The SPF record of the domain in MAIL FROM does not list the address that the receiver saw.",
        "See whether that address is yours: compare it with `waypost spf walk DOMAIN`. If mail is forwarded, the "
        "address is the forwarder's and no record can help: there a DKIM signature must.",
        "Send through your domain's own server. " + _ASK_ADMIN,
        "Do not list a forwarder's or a shared provider's addresses for a domain that does not send through it.",
    ),
    Cause.DKIM: Advice(
        "No DKIM signature that the receiver accepts verified.",
        "Check the key (`waypost dkim check SELECTOR DOMAIN`), and whether something changes messages after they are "
        "signed (`waypost autopsy`).",
        _ASK_ADMIN,
        "",
    ),
    Cause.ALIGNMENT: Advice(
        "SPF or DKIM passed, but for another domain than the one in From.",
        "Sign with DKIM as the domain in From, or use a MAIL FROM below it.",
        "Send with a From address of the system that sends for you, or have that system sign as your domain.",
        "",
    ),
    Cause.NO_DMARC_RECORD: Advice(
        "The domain in From publishes no DMARC record, and the receiver wants one.",
        "Publish one; `v=DMARC1; p=none` is enough to begin with. `waypost dmarc check DOMAIN` shows what is there.",
        _ASK_ADMIN,
        "",
    ),
    Cause.BULK_SENDER: Advice(
        "For the receiver the domain is a bulk sender: SPF and DKIM must both pass, and DMARC must be published.",
        "Set up SPF and DKIM for the domain in From, and publish DMARC with at least p=none.",
        _ASK_ADMIN,
        "",
    ),
    Cause.ARC: Advice(
        "The chain of ARC seals on the message does not verify.",
        "A server sealed the message and a later one changed it. Stop the change, or stop sealing there.",
        _ASK_ADMIN,
        "",
    ),
    Cause.BROKEN_BEHIND_MICROSOFT: Advice(
        "A gateway that carries mail out of Microsoft 365 changed it, so that authentication failed at the receiver.",
        "Let the gateway carry mail unchanged, or sign with DKIM after it. `waypost autopsy` names what it changes.",
        _ASK_ADMIN,
        "Do not switch off DKIM signing in Microsoft 365.",
    ),
    Cause.REVERSE_DNS: Advice(
        "The sending address has no name in reverse DNS, or the name does not lead back to it.",
        "Have the owner of the address set a PTR record, and an A or AAAA record of that name to the same address.",
        _ASK_ADMIN,
        "",
    ),
    Cause.HELO: Advice(
        "The receiver does not accept the name that the sending server gave in EHLO.",
        "Set the server's EHLO name to its full name in DNS.",
        _ASK_ADMIN,
        "",
    ),
    Cause.ADDRESS_LISTED: Advice(
        "The sending address is on a block list of the receiver or of a third party.",
        "Find out why it was listed (a stolen account, a form, a neighbour), end that, then ask for removal where the "
        "reply says.",
        _ASK_ADMIN,
        "Do not ask for removal before the cause is gone, and do not move to other addresses to evade the list.",
    ),
    Cause.REPUTATION: Advice(
        "The receiver thinks little of the sending address or domain.",
        "Look for unwanted mail that leaves through this server, and send less at a time until trust is back.",
        _WAIT,
        "",
    ),
    Cause.NOT_A_GATEWAY: Advice(
        "The receiving organisation takes mail only from its listed inbound gateways, and the sending address is not "
        "among them.",
        "Add the sending address under Inbound gateway in the receiver's Google Admin console.",
        _ASK_ADMIN,
        "Do not switch off the rejection of mail from elsewhere: it keeps others from going around the gateway.",
    ),
    Cause.CONNECTOR: Advice(
        "The receiving tenant takes mail only through an inbound connector, and this connection matched none.",
        "Correct the Partner connector: its certificate name or its list of addresses must fit this server.",
        _ASK_ADMIN,
        "",
    ),
    Cause.DIRECT_SEND: Advice(
        "The receiving tenant refuses mail in its own name that comes through no connector (RejectDirectSend).",
        "Let the sending server match an inbound connector by certificate or address.",
        "Send through your organisation's own server, logged in.",
        "Do not switch RejectDirectSend off: then anyone can send in the tenant's name.",
    ),
    Cause.RELAY_DENIED: Advice(
        "The server does not carry mail from this client to this recipient.",
        "Check that the route leads to a server responsible for the recipient's domain, and that this server may use "
        "it (connector, login, list of addresses).",
        "Check the part of the address after the @, and whether your program logs in to send.",
        "",
    ),
    Cause.LOGIN: Advice(
        "The server wants a login, or did not accept the one it was given.",
        "Check user, password and the method of authentication for this server.",
        "Check the account's settings in your mail program.",
        "",
    ),
    Cause.TLS: Advice(
        "The server takes mail only over TLS, or of a better kind.",
        "Turn on STARTTLS for this route, and see that a certificate and protocol are used that the server accepts.",
        _ASK_ADMIN,
        "",
    ),
    Cause.CERTIFICATE: Advice(
        "A certificate was not accepted: its name, its issuer or its dates.",
        "Compare the certificate's names and dates with what the other side expects, and renew or correct it.",
        _ASK_ADMIN,
        "",
    ),
    Cause.REGION: Advice(
        "Mail for this tenant went to Microsoft's servers of another region.",
        "Use the host that the tenant's domain settings show, DOMAIN.mail.protection.outlook.com, not an address.",
        _ASK_ADMIN,
        "",
    ),
    Cause.MANY_DOMAINS: Advice(
        "The server takes recipients of one domain in a transaction.",
        "Send the recipients of each domain in a transaction of their own.",
        _WAIT,
        "",
    ),
    Cause.PROTOCOL: Advice(
        "The server did not understand a command, or not in this order.",
        "Look at the session in the log: a filter between the two servers may disturb it.",
        _ASK_ADMIN,
        "",
    ),
}
