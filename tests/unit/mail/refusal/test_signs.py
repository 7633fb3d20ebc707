"""Each code that a big provider is known to give, in a reply of its form: the refusing provider, and the cause."""

from __future__ import annotations

from datetime import date

import pytest

from gateway.mail.refusal import Blame, Cause, Provider, classify
from gateway.mail.refusal.nesting import find_status
from gateway.mail.refusal.signs import RefusalSign, find_cause, read_tables
from gateway.model.delivery import Scope
from gateway.model.reply import REPLIES, Reply

GSMTP = "d9443c01a7336-22eb - gsmtp"
EOP = "[AM0PR05MB4321.eurprd05.prod.outlook.com 2026-11-21T10:00:00.000Z 08DE2]"

GOOGLE = (
    # code, text, cause
    (
        450,
        "4.2.1 The user you are trying to contact is receiving mail at a rate that prevents more",
        Cause.RECIPIENT_RATE,
    ),
    (452, "4.2.2 The recipient's inbox is out of storage space and inactive.", Cause.MAILBOX_FULL),
    (451, "4.3.0 Mail server temporarily rejected message.", Cause.SERVER_TROUBLE),
    (451, "4.3.0 Multiple destination domains per transaction is unsupported. Please try again.", Cause.MANY_DOMAINS),
    (550, "5.7.1 The user or domain that you are sending to has a policy that prohibited this mail. gcdp", Cause.RULE),
    (421, "4.7.0 IP not in whitelist for RCPT domain, closing connection.", Cause.NOT_A_GATEWAY),
    (421, "4.7.0 TLS required for RCPT domain, closing connection.", Cause.TLS),
    (421, "4.7.0 [203.0.113.9] Our system has detected an unusual rate of unsolicited mail", Cause.RATE),
    (
        421,
        "4.7.0 This message is suspicious due to the very low reputation of the sending IP address",
        Cause.REPUTATION,
    ),
    (421, "4.7.0 The IP address sending this message does not have a PTR record setup", Cause.REVERSE_DNS),
    (421, "4.7.23 The sending IP address does not match the forward DNS record (PTR)", Cause.REVERSE_DNS),
    (421, "4.7.26 This mail has been rate limited because it is unauthenticated.", Cause.UNAUTHENTICATED),
    (421, "4.7.27 Your email has been rate limited because SPF authentication didn't pass", Cause.SPF),
    (421, "4.7.28 Gmail has detected an unusual rate of mail with the same Message-ID", Cause.RATE),
    (421, "4.7.29 Your email has been rate limited because it wasn't sent over a TLS connection.", Cause.TLS),
    (421, "4.7.30 Your email has been rate limited because DKIM authentication didn't pass", Cause.DKIM),
    (421, "4.7.31 Your email has been rate limited because it has no DMARC policy.", Cause.NO_DMARC_RECORD),
    (421, "4.7.32 Your email has been rate limited because the From: header isn't aligned", Cause.ALIGNMENT),
    (
        421,
        "4.7.40 Your email has been rate limited because the From: domain has no DMARC record",
        Cause.NO_DMARC_RECORD,
    ),
    (421, "5.7.32 The From: header isn't aligned with either the SPF or DKIM organizational domain", Cause.ALIGNMENT),
    (550, "5.1.1 The email account that you tried to reach does not exist.", Cause.UNKNOWN_RECIPIENT),
    (550, "5.2.1 The email account that you tried to reach is inactive.", Cause.MAILBOX_DISABLED),
    (550, "5.4.5 Daily user sending limit exceeded.", Cause.SENDING_LIMIT),
    (552, "5.2.2 The recipient's inbox is out of storage space.", Cause.MAILBOX_FULL),
    (552, "5.3.4 Your message exceeded Google's message size limits.", Cause.TOO_BIG),
    (552, "5.3.4 The message header size exceeds the limit.", Cause.HEADER_TOO_BIG),
    (
        552,
        "5.7.0 This message was blocked because its content presents a potential security issue.",
        Cause.BLOCKED_CONTENT,
    ),
    (554, "5.4.6 Message exceeded 50 hops, this may indicate a mail loop.", Cause.LOOP),
    (
        550,
        "5.7.0 Mail relay denied [203.0.113.9]. Invalid credentials for relay for one of the domains",
        Cause.RELAY_DENIED,
    ),
    (550, "5.7.1 Invalid credentials for relay [203.0.113.9].", Cause.RELAY_DENIED),
    (550, "5.7.1 Messages missing a valid address in the From: header are not accepted.", Cause.MALFORMED),
    (550, "5.7.1 This message has duplicate singleton headers.", Cause.MALFORMED),
    (550, "5.7.1 Messages missing a Message-ID header are not accepted.", Cause.MALFORMED),
    (550, "5.7.1 Messages with multiple addresses in From: header are not accepted.", Cause.MALFORMED),
    (550, "5.7.1 [203.0.113.9] Gmail has detected that this message is likely unsolicited mail.", Cause.SPAM),
    (550, "5.7.1 Unauthenticated email from bank.example is not accepted due to domain's DMARC policy.", Cause.DMARC),
    (550, "5.7.25 The sending IP address doesn't have a PTR record.", Cause.REVERSE_DNS),
    (550, "5.7.26 Unauthenticated email from bank.example is not accepted due to domain's DMARC policy.", Cause.DMARC),
    (
        550,
        "5.7.26 Your email has been blocked because the sender is unauthenticated. DKIM = did not pass",
        Cause.UNAUTHENTICATED,
    ),
    (550, "5.7.27 Your email has been blocked because SPF authentication didn't pass", Cause.SPF),
    (550, "5.7.28 Gmail has detected an unusual rate of unsolicited mail", Cause.RATE),
    (550, "5.7.29 Your email has been blocked because it wasn't sent over a TLS connection.", Cause.TLS),
    (550, "5.7.30 Your email has been blocked because DKIM authentication didn't pass", Cause.DKIM),
    (550, "5.7.40 The From: domain has no DMARC record", Cause.NO_DMARC_RECORD),
)

MICROSOFT = (
    (421, "4.3.2 The maximum number of concurrent server connections has exceeded a limit", Cause.TOO_MANY_CONNECTIONS),
    (450, "4.7.320 Certificate validation failed", Cause.CERTIFICATE),
    (
        451,
        "4.4.0 Message failed to be made redundant due to A shadow copy was required but failed to be made",
        Cause.SERVER_TROUBLE,
    ),
    (451, "4.4.62 Mail sent to the wrong Office 365 region. ATTR35.", Cause.REGION),
    (451, "4.7.500 Server busy. Please try again later from [203.0.113.9]. (S77719)", Cause.THROTTLED),
    (451, "4.7.550 Access denied, please try again later", Cause.THROTTLED),
    (
        451,
        "4.7.650 The mail server [203.0.113.9] has been temporarily rate limited due to IP reputation. (AS843)",
        Cause.THROTTLED,
    ),
    (451, "4.7.699 Throttled. (AS780090)", Cause.THROTTLED),
    (550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", Cause.UNKNOWN_RECIPIENT),
    (550, "5.1.8 Access denied, bad outbound sender AS(42004)", Cause.SENDER_BLOCKED),
    (550, "5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient", Cause.TOO_BIG),
    (550, "5.4.1 Recipient address rejected: Access denied.", Cause.DIRECTORY),
    (554, "5.4.14 Hop count exceeded - possible mail loop ATTR34", Cause.LOOP),
    (554, "5.4.6 Hop count exceeded - possible mail loop", Cause.LOOP),
    (550, "5.6.11 SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds", Cause.BARE_NEWLINE),
    (550, "5.7.1 Service unavailable, Client host [203.0.113.9] blocked using Spamhaus.", Cause.ADDRESS_LISTED),
    (
        550,
        "5.7.1 Unfortunately, messages from [203.0.113.9] weren't sent. Their network is on our block list (S3150).",
        Cause.ADDRESS_LISTED,
    ),
    (550, "5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy", Cause.RULE),
    (
        550,
        "5.7.124 RESOLVER.RST.NotAuthorized; not authorized to send to the distribution list",
        Cause.RECIPIENT_RESTRICTED,
    ),
    (550, "5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required", Cause.RECIPIENT_RESTRICTED),
    (550, "5.7.23 The message was rejected because of Sender Policy Framework violation", Cause.SPF),
    (550, "5.7.367 Remote server returned not permitted to relay", Cause.RELAY_POOL),
    (
        550,
        "5.7.509 Access denied, sending domain a.example does not pass DMARC verification and has a policy of reject.",
        Cause.DMARC,
    ),
    (
        550,
        "5.7.51 TenantInboundAttribution; There is a partner connector configured.",
        Cause.CONNECTOR,
    ),
    (
        550,
        "5.7.515 Access denied, sending domain x.example does not meet the required authentication level.",
        Cause.BULK_SENDER,
    ),
    (550, "5.7.57 Client not authenticated to send mail.", Cause.LOGIN),
    (550, "5.7.60 SMTP; Client does not have permissions to send as this sender", Cause.SENDER_DENIED),
    (
        550,
        "5.7.606 Access denied, banned sending IP [203.0.113.9]. To request removal please visit https://sender.office.com",
        Cause.ADDRESS_LISTED,
    ),
    (550, "5.7.649 Access denied, banned sending IP [203.0.113.9].", Cause.ADDRESS_LISTED),
    (550, "5.7.64 TenantAttribution; Relay Access Denied", Cause.RELAY_DENIED),
    (
        550,
        "5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources",
        Cause.DIRECT_SEND,
    ),
    (550, "5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.", Cause.SENDER_BLOCKED),
    (550, "5.7.1 Email rejected per DMARC policy for bank.example", Cause.DMARC),
)

OTHERS = (
    (
        421,
        "4.7.0 [TSS04] Messages from 203.0.113.9 temporarily deferred due to unexpected volume or user complaints; see https://postmaster.yahooinc.com/error-codes",
        Provider.YAHOO,
        Cause.THROTTLED,
    ),
    (
        553,
        "5.7.1 [BL21] Connections will not be accepted from 203.0.113.9, because the ip is in Spamhaus's list; see http://postmaster.yahoo.com/550-bl23.html",
        Provider.YAHOO,
        Cause.ADDRESS_LISTED,
    ),
    (
        554,
        "5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes",
        Provider.YAHOO,
        Cause.DMARC,
    ),
    (
        554,
        "delivery error: dd This user doesn't have a yahoo.com account (x@yahoo.com) [0]",
        Provider.YAHOO,
        Cause.UNKNOWN_RECIPIENT,
    ),
    (
        550,
        "5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137",
        Provider.APPLE,
        Cause.POLICY,
    ),
    (
        554,
        "5.7.1 [HM08] Message rejected due to local policy. https://support.apple.com/HT204137",
        Provider.APPLE,
        Cause.SPAM,
    ),
    (
        550,
        "DMARC Sender Invalid - envelope rejected - https://community.mimecast.com/docs/DOC-1369#550",
        Provider.MIMECAST,
        Cause.DMARC,
    ),
    (
        451,
        "Internal resources are temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451",
        Provider.MIMECAST,
        Cause.GREYLISTED,
    ),
    (554, "Blocked - see https://ipcheck.proofpoint.com/?ip=203.0.113.9", Provider.PROOFPOINT, Cause.ADDRESS_LISTED),
    (
        554,
        "gmx.net (mxgmx016) Nemesis ESMTP Service not available No SMTP service Bad DNS PTR resource record.",
        Provider.GMX,
        Cause.REVERSE_DNS,
    ),
    (
        550,
        "Requested action not taken: mailbox unavailable For explanation visit https://postmaster.gmx.net/en/error-messages?ip=203.0.113.9&c=hi",
        Provider.GMX,
        Cause.UNKNOWN_RECIPIENT,
    ),
    (
        550,
        "5.1.1 <nobody@corp.example>: Recipient address rejected: User unknown in local recipient table",
        Provider.OTHER,
        Cause.UNKNOWN_RECIPIENT,
    ),
    (550, "<spam@corp.example>: Recipient address rejected: User unknown", Provider.OTHER, Cause.UNKNOWN_RECIPIENT),
    (554, "5.7.1 <x@else.example>: Relay access denied", Provider.OTHER, Cause.RELAY_DENIED),
    (553, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", Provider.OTHER, Cause.RELAY_DENIED),
    (
        450,
        "4.2.0 <x@corp.example>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/",
        Provider.OTHER,
        Cause.GREYLISTED,
    ),
    (550, "5.7.23 SPF: a.example sends no mail", Provider.OTHER, Cause.SENDS_NO_MAIL),
    (550, "5.7.27 the domain takes no mail", Provider.OTHER, Cause.SENDER_UNKNOWN),
    (550, "5.7.30 REQUIRETLS is not offered", Provider.OTHER, Cause.TLS),
    (550, "5.7.25 no name", Provider.OTHER, Cause.REVERSE_DNS),
    (550, "5.7.29 chain broken", Provider.OTHER, Cause.ARC),
    (556, "5.1.10 takes no mail", Provider.OTHER, Cause.NULL_MX),
    (550, "Sender verify failed", Provider.OTHER, Cause.SENDER_UNKNOWN),
    (550, "5.6.7 address not permitted", Provider.OTHER, Cause.UTF8),
    (552, "5.3.4 no", Provider.OTHER, Cause.TOO_BIG),
    (530, "5.7.0 Must issue a STARTTLS command first", Provider.OTHER, Cause.TLS),
    (535, "5.7.8 no", Provider.OTHER, Cause.LOGIN),
    (451, "4.7.24 the check of SPF failed for now", Provider.OTHER, Cause.SPF),
    (450, "4.1.1 unverified address", Provider.OTHER, Cause.UNKNOWN),
    (550, "because", Provider.OTHER, Cause.UNKNOWN),
)


@pytest.mark.parametrize(("code", "text", "cause"), GOOGLE)
def test_google(code: int, text: str, cause: Cause) -> None:
    for refusal in (
        classify(Reply.received(code, f"{text} For more information, go to https://support.google.com {GSMTP}")),
        classify(Reply.received(code, text), "aspmx.l.google.com"),
    ):
        assert (refusal.provider, refusal.cause) == (Provider.GOOGLE, cause)


@pytest.mark.parametrize(("code", "text", "cause"), MICROSOFT)
def test_microsoft(code: int, text: str, cause: Cause) -> None:
    for refusal in (
        classify(Reply.received(code, f"{text} {EOP}")),
        classify(Reply.received(code, text), "corp-example.mail.protection.outlook.com"),
        classify(Reply.received(code, text), "corp-example.k-v1.mx.microsoft."),
    ):
        assert (refusal.provider, refusal.cause) == (Provider.MICROSOFT, cause)


@pytest.mark.parametrize(("code", "text", "provider", "cause"), OTHERS)
def test_others(code: int, text: str, provider: Provider, cause: Cause) -> None:
    refusal = classify(Reply.received(code, text), "mx.corp.example")
    assert (refusal.provider, refusal.cause) == (provider, cause)


def test_the_same_number_means_what_its_provider_means() -> None:
    by = {host: classify(Reply.received(550, "5.7.27 no"), host).cause for host in ("mx.google.com", "mx.x.example")}
    assert by == {"mx.google.com": Cause.SPF, "mx.x.example": Cause.SENDER_UNKNOWN}


def test_every_cause_has_advice_and_someone_to_blame() -> None:
    for cause in Cause:
        assert isinstance(cause.blame, Blame)
    reached = {sign.cause for table in read_tables() for sign in table.signs}
    assert set(Cause) - reached == {Cause.UNKNOWN, Cause.DELAYED}


@pytest.mark.parametrize(
    "sign", [sign for table in read_tables() for sign in table.signs], ids=lambda sign: sign.sample[:50]
)
def test_each_row_of_the_tables_reads_its_own_sample(sign: RefusalSign) -> None:
    found = find_status(sign.sample) if sign.sample[1:2] == "." else None
    code, _, text = sign.sample.partition(" ")
    reply = found[0] if found else Reply.received(int(code), text) if code.isdigit() else Reply(550, "", sign.sample)
    assert find_cause(reply, sign.provider or Provider.OTHER) is sign.cause


def test_each_table_names_its_source_and_date() -> None:
    assert {table.signs[0].provider for table in read_tables()} >= {
        *(Provider.GOOGLE, Provider.MICROSOFT, Provider.YAHOO, Provider.APPLE),
        None,
    }
    for table in read_tables():
        assert len(table.source) > 20
        assert date(2024, 1, 1) < table.date < date(2027, 1, 1)


@pytest.mark.parametrize(
    ("code", "text", "cause"),
    [
        (550, "Helo command rejected: need fully-qualified hostname", Cause.HELO),
        (503, "5.5.1 bad sequence of commands", Cause.PROTOCOL),
        (554, "5.6.3 conversion required but not supported", Cause.CONVERSION),
        (550, "5.1.2 Host or domain name not found", Cause.NO_SUCH_DOMAIN),
        (452, "4.5.3 too many recipients", Cause.TOO_MANY_RECIPIENTS),
        (451, "4.4.3 no answer", Cause.DNS_TROUBLE),
        (441, "4.4.1 Connection timed out", Cause.UNREACHABLE),
        (550, "4.4.7 delivery time expired", Cause.EXPIRED),
    ],
)
def test_seldom_causes(code: int, text: str, cause: Cause) -> None:
    assert classify(Reply.received(code, text)).cause is cause


def test_a_backend_that_blames_us_is_our_own_fault() -> None:
    hosts = (("aspmx.l.google.com", GOOGLE), ("corp-example.mail.protection.outlook.com", MICROSOFT))
    blamed = [
        (host, Reply.received(code, text))
        for host, rows in hosts
        for code, text, cause in rows
        if cause.blame in (Blame.CLIENT, Blame.AUTHENTICATION)
    ]
    assert len(blamed) > 30
    for host, reply in blamed:
        assert classify(reply, host, backend=True).scope is Scope.OURS
        assert classify(reply, host).scope is Scope.MESSAGE


@pytest.mark.parametrize(
    ("code", "text", "scope"),
    [
        (550, "5.1.1 no such user", Scope.RECIPIENT),
        (452, "4.2.2 quota exceeded", Scope.RECIPIENT),
        (552, "5.3.4 too big", Scope.MESSAGE),
        (550, "5.7.1 this is spam", Scope.MESSAGE),
        (421, "4.3.2 too many connections", Scope.SITE),
        (550, "because", Scope.MESSAGE),
    ],
)
def test_scopes_that_are_not_ours(code: int, text: str, scope: Scope) -> None:
    assert classify(Reply.received(code, text), "mx.corp.example", backend=True).scope is scope


@pytest.mark.parametrize(
    ("text", "host", "provider"),
    [
        ("5.1.1 <bob@yahoo.com>: Recipient address rejected", "", Provider.OTHER),
        ("5.1.1 <bob@gmx.de>: no such user", "mx.corp.example", Provider.OTHER),
        (
            "5.7.509 Access denied, sending domain yahoo.com does not pass DMARC",
            "x.mail.protection.outlook.com",
            Provider.MICROSOFT,
        ),
        ("5.7.1 see https://support.apple.com/x - gsmtp", "mx.google.com.", Provider.GOOGLE),
    ],
)
def test_a_domain_in_the_text_is_not_the_writer(text: str, host: str, provider: Provider) -> None:
    assert classify(Reply.received(550, text), host).provider is provider


OURS = {
    "dmarc-policy": Cause.DMARC,
    "own-domain": Cause.UNAUTHENTICATED,
    "spf-fail": Cause.SENDS_NO_MAIL,
    "no-author": Cause.NO_FROM,
    "several-authors": Cause.SEVERAL_FROM,
    "dns-wait": Cause.SENDER_DNS,
    "hold-full": Cause.HOLD_FULL,
    "listed": Cause.ADDRESS_LISTED,
    "greylisted": Cause.GREYLISTED,
    "unacceptable": Cause.POLICY,
    "not-now": Cause.POLICY,
    "relay-denied": Cause.RELAY_DENIED,
    "unknown-mailbox": Cause.UNKNOWN_RECIPIENT,
    "directory-stale": Cause.SERVER_TROUBLE,
    "too-big-for-route": Cause.TOO_BIG,
    "no-utf8-on-route": Cause.UTF8,
    "loop-to-origin": Cause.UNKNOWN_RECIPIENT,
    "no-bounce": Cause.BOUNCES_ONLY,
    "mixed-recipients": Cause.TOO_MANY_RECIPIENTS,
    "too-many-recipients": Cause.TOO_MANY_RECIPIENTS,
    "route-stopped": Cause.SERVER_TROUBLE,
    "returned-by-admin": Cause.ADMINISTRATOR,
    "deleted-by-admin": Cause.ADMINISTRATOR,
    "not-a-sender": Cause.RELAY_DENIED,
    "login-owns-nothing": Cause.SENDER_DENIED,
    "sender-not-owned": Cause.SENDER_DENIED,
    "author-not-owned": Cause.SENDER_DENIED,
    "tenant-not-proven": Cause.RELAY_DENIED,
    "suspended": Cause.SENDER_BLOCKED,
    "bare-newline": Cause.BARE_NEWLINE,
    "chunking-unknown": Cause.SERVER_TROUBLE,
    "malformed-header": Cause.MALFORMED,
    "too-big": Cause.TOO_BIG,
    "header-too-big": Cause.HEADER_TOO_BIG,
    "mail-loop": Cause.LOOP,
    "internal": Cause.SERVER_TROUBLE,
    "under-way": Cause.SERVER_TROUBLE,
    "no-storage": Cause.SERVER_TROUBLE,
    "shutting-down": Cause.SERVER_TROUBLE,
    "too-fast": Cause.RATE,
    "too-many-a-minute": Cause.TOO_MANY_CONNECTIONS,
    "too-busy": Cause.TOO_MANY_CONNECTIONS,
}
"""The cause that each of our own refusals has for the refused party."""
FILLED = {
    "domain": "author.example",
    "advice": "See the DMARC page of the policy, https://help.example/spf.",
    "spf_domain": "author.example",
    "client": "192.0.2.1",
    "lists": "zone.list.example",
    "limit": "1000000",
    "host": "mx.corp.example",
    "address": "ann@author.example",
    "name": "ann@author.example",
}


@pytest.mark.parametrize("name", [name for name, reply in REPLIES.items() if not reply.positive])
def test_our_own_refusals_are_read(name: str) -> None:
    reply = REPLIES[name].filled(**FILLED).with_id("01ABC")
    for host in ("mx.corp.example", "mx.google.com", "corp-example.mail.protection.outlook.com"):
        assert classify(reply, host).cause is OURS[name]
    assert classify(Reply.received(reply.code, str(reply).partition(" ")[2])).cause is OURS[name]
