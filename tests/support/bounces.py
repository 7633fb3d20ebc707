"""Bounces of our own making, in the forms of the big providers and mail servers."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.mail.refusal import Cause, Provider

RETURNED = (
    "Received: from desk.author.example (desk.author.example [198.51.100.7])\n"
    "\tby out.author.example with ESMTPSA id 1; Sat, 21 Nov 2026 10:00:00 +0000\n"
    "From: ann@author.example\nTo: bob@corp.example\nSubject: hello\n"
)
GMAIL_DMARC = (
    "550-5.7.26 Unauthenticated email from author.example is not accepted due to 550-5.7.26 domain's DMARC policy. "
    "Please contact the administrator of 550-5.7.26 author.example domain if this was a legitimate mail. To learn "
    "about 550-5.7.26 the DMARC initiative, go to 550 5.7.26 https://support.google.com/mail/?p=DmarcRejection "
    "a640c23a62f3a-b76 - gsmtp"
)
INCIDENT_1 = (
    "550 5.7.23 The message was rejected because of Sender Policy Framework violation -> 550 5.7.1 Unauthenticated "
    "email from author.example is not accepted due to 550-5.7.1 domain's DMARC policy. Please contact the "
    "administrator of 550-5.7.1 author.example domain if this was a legitimate mail. To learn about the 550-5.7.1 "
    "DMARC initiative, go to 550 5.7.1 https://support.google.com/mail/?p=DmarcRejection b76-20020a - gsmtp"
)


def report(
    reporter: str, status: str, diagnostic: str, remote: str = "", prose: str = "", action: str = "failed"
) -> str:
    """A multipart/report of RFC 3464."""
    remote_field = f"Remote-MTA: dns; {remote}\n" if remote else ""
    diagnostic_field = f"Diagnostic-Code: smtp; {diagnostic}\n" if diagnostic else ""
    return (
        f"From: Mail Delivery System <MAILER-DAEMON@{reporter}>\nTo: ann@author.example\nSubject: Undelivered Mail\n"
        'MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
        f"--b\nContent-Type: text/plain\n\n{prose or 'Your message could not be delivered.'}\n\n"
        f"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; {reporter}\n\n"
        f"Final-Recipient: rfc822; bob@corp.example\nAction: {action}\nStatus: "
        f"{status}\n{remote_field}{diagnostic_field}"
        f"\n--b\nContent-Type: text/rfc822-headers\n\n{RETURNED}\n--b--\n"
    )


def exchange(said: str, status: str, advice: str = "") -> str:
    """Exchange Online: the reply is in the prose and in the field, after a status of its own."""
    prose = (
        f"Delivery has failed to these recipients or groups:\n\nbob@corp.example\n{advice}\n\n"
        "Diagnostic information for administrators:\n\nGenerating server: AM9PR05MB7777.eurprd05.prod.outlook.com\n\n"
        f"bob@corp.example\nRemote Server returned '{said}'\n\nOriginal message headers:\n\nReceived: from x by y\n"
    )
    return report("AM9PR05MB7777.eurprd05.prod.outlook.com", status, said, prose=prose)


def postfix(said: str, status: str, remote: str, command: str = "RCPT TO") -> str:
    prose = (
        "This is the mail system at host out.author.example.\n\nI'm sorry to have to inform you that your message "
        "could not\nbe delivered to one or more recipients. It's attached below.\n\n<bob@corp.example>: host\n    "
        f"{remote}[192.0.2.9] said: {said} (in reply to {command} command)\n"
    )
    return report("out.author.example", status, said, remote, prose)


def plain(sender: str, subject: str, body: str, more: str = "") -> str:
    return f"From: {sender}\nTo: ann@author.example\nSubject: {subject}\n{more}\n{body}"


def exim(said: str) -> str:
    body = (
        "This message was created automatically by mail delivery software.\n\nA message that you sent could not be "
        "delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n"
        f"  bob@corp.example\n    {said}\n\n------ This is a copy of the message's headers. ------\n\n{RETURNED}"
    )
    sender = "Mail Delivery System <Mailer-Daemon@out.author.example>"
    more = "X-Failed-Recipients: bob@corp.example\nAuto-Submitted: auto-replied\n"
    return plain(sender, "Mail delivery failed: returning message to sender", body, more)


def qmail(said: str) -> str:
    body = (
        "Hi. This is the qmail-send program at out.author.example.\nI'm afraid I wasn't able to deliver your message "
        "to the following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n"
        f"<bob@corp.example>:\n{said}\n\n--- Below this line is a copy of the message.\n\n{RETURNED}"
    )
    return plain("MAILER-DAEMON@out.author.example", "failure notice", body)


def sendmail(said: str, transcript: str) -> str:
    body = (
        "The original message was received at Sat, 21 Nov 2026 10:00:00 GMT\nfrom desk [198.51.100.7]\n\n"
        f"   ----- The following addresses had permanent fatal errors -----\n<bob@corp.example>\n    (reason: "
        f"{said})\n\n"
        f"   ----- Transcript of session follows -----\n... while talking to mx.corp.example.:\n{transcript}\n"
    )
    return plain("Mail Delivery Subsystem <MAILER-DAEMON@out.author.example>", "Returned mail: see transcript", body)


def gmail(said: str, status: str, remote: str) -> str:
    prose = (
        "** Address not found **\n\nYour message wasn't delivered to bob@corp.example.\n\nThe response from the remote "
        f"server was:\n\n{said}\n"
    )
    return report(
        "googlemail.com", status, said, f"{remote} (192.0.2.9, the server for the domain corp.example.)", prose
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """One bounce and the expected result of reading it."""

    name: str
    text: str
    cause: Cause
    provider: Provider = Provider.OTHER
    relay: Provider | None = None


GOOGLE, MICROSOFT, OTHER = Provider.GOOGLE, Provider.MICROSOFT, Provider.OTHER
OUTLOOK = "corp-example.mail.protection.outlook.com"
EOP = "[AM0PR05MB4321.eurprd05.prod.outlook.com 2026-11-21T10:00:00.000Z 08DE2]"
ADD_SPF = "To fix it, add include:spf.protection.outlook.com to the SPF record of author.example."

SAMPLES = (
    # Exchange Online
    Sample("incident-1", exchange(INCIDENT_1, "5.7.23", ADD_SPF), Cause.DMARC, GOOGLE, MICROSOFT),
    Sample(
        "incident-1-prose-only",
        exchange(INCIDENT_1, "5.7.23", ADD_SPF).replace(f"Diagnostic-Code: smtp; {INCIDENT_1}\n", ""),
        *(Cause.DMARC, GOOGLE, MICROSOFT),
    ),
    Sample(
        "exo-unknown",
        exchange(f"550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found {EOP}", "5.1.10"),
        Cause.UNKNOWN_RECIPIENT,
        MICROSOFT,
    ),
    Sample(
        "exo-edge",
        exchange(f"550 5.4.1 Recipient address rejected: Access denied. {EOP}", "5.4.1"),
        Cause.DIRECTORY,
        MICROSOFT,
    ),
    Sample(
        "exo-group",
        exchange("550 5.7.124 RESOLVER.RST.NotAuthorized; not authorized", "5.7.124"),
        Cause.RECIPIENT_RESTRICTED,
        MICROSOFT,
    ),
    Sample(
        "exo-loop",
        exchange("554 5.4.14 Hop count exceeded - possible mail loop ATTR34", "5.4.14"),
        Cause.LOOP,
        MICROSOFT,
    ),
    Sample(
        "exo-expired-tls",
        exchange(
            "550 5.4.300 Message expired -> 421 4.7.0 TLS required for RCPT domain, closing connection. x - gsmtp",
            "5.4.300",
        ),
        *(Cause.TLS, GOOGLE, MICROSOFT),
    ),
    Sample(
        "exo-expired-whitelist",
        exchange("550 5.4.300 Message expired -> 421 4.7.0 IP not in whitelist for RCPT domain x - gsmtp", "5.4.300"),
        *(Cause.NOT_A_GATEWAY, GOOGLE, MICROSOFT),
    ),
    Sample(
        "exo-certificate",
        exchange(
            "550 5.4.317 Message expired, cannot connect to remote server"
            "[{LED=450 4.7.320 Certificate validation failed [Message=SubjectMismatch] "
            "[LastAttemptedServerName=mx.corp.example] [LastAttemptedIP=192.0.2.9:25]};{MSG=};{FQDN=};{IP=};{LRT=}]",
            "5.4.317",
        ),
        *(Cause.CERTIFICATE, OTHER, MICROSOFT),
    ),
    Sample(
        "exo-refused",
        exchange("550 5.4.316 Message expired, connection refused(Socket error code 10061)", "5.4.316"),
        Cause.UNREACHABLE,
    ),
    Sample(
        "exo-nested-user",
        exchange(
            "550 5.1.1 RESOLVER.ADR -> 550 5.1.1 <bob@corp.example>: User unknown in virtual mailbox table", "5.1.1"
        ),
        *(Cause.UNKNOWN_RECIPIENT, OTHER, MICROSOFT),
    ),
    Sample(
        "exo-direct-send",
        postfix("550 5.7.68 TenantInboundAttribution; Direct Send not allowed", "5.7.68", OUTLOOK),
        Cause.DIRECT_SEND,
        MICROSOFT,
    ),
    Sample(
        "exo-relay",
        postfix("550 5.7.64 TenantAttribution; Relay Access Denied", "5.7.64", OUTLOOK),
        Cause.RELAY_DENIED,
        MICROSOFT,
    ),
    Sample(
        "exo-banned",
        postfix("550 5.7.606 Access denied, banned sending IP [192.0.2.1]", "5.7.606", OUTLOOK),
        Cause.ADDRESS_LISTED,
        MICROSOFT,
    ),
    Sample(
        "exo-bare-lf",
        postfix("550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal; bare linefeeds", "5.6.11", OUTLOOK, "end of DATA"),
        Cause.BARE_NEWLINE,
        MICROSOFT,
    ),
    Sample(
        "exo-gateway",
        exchange("550 5.7.367 Remote server returned not permitted to relay -> 550 5.7.1 DKIM check failed", "5.7.367"),
        *(Cause.DKIM, OTHER, MICROSOFT),
    ),
    Sample(
        "exo-throttled",
        postfix("451 4.7.650 The mail server has been temporarily rate limited (AS843)", "4.7.650", OUTLOOK),
        Cause.THROTTLED,
        MICROSOFT,
    ),
    # Exchange of one's own
    Sample(
        "exchange-2016",
        report(
            "mail.author.example",
            "5.1.1",
            "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found",
            prose="x\n\nbob\n#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##",
        ),
        *(Cause.UNKNOWN_RECIPIENT, MICROSOFT),
    ),
    Sample(
        "exchange-2003",
        plain(
            "System Administrator <postmaster@author.example>",
            "Undeliverable: hello",
            "Your message did not reach some or all of the intended recipients.\n\n      Subject: hello\n\nThe "
            "following "
            "recipient(s) could not be reached:\n\n      bob@corp.example on 21/11/2026 10:00\n            The e-mail "
            "account does not exist at the organization this message was sent to.\n            <mail.author.example "
            "#5.1.1 smtp;550 5.1.1 User unknown>\n",
        ),
        Cause.UNKNOWN_RECIPIENT,
    ),
    Sample(
        "exchange-nested",
        report(
            "mail.author.example",
            "5.7.1",
            "554 5.7.0 < #5.7.1 smtp; 550-5.7.1 Unauthenticated email from author.example is not accepted due to 550 "
            "5.7.1 domain's DMARC policy. x - gsmtp>",
        ),
        *(Cause.DMARC, GOOGLE, OTHER),
    ),
    # Gmail
    Sample(
        "gmail-unknown",
        gmail("550 5.1.1 <bob@corp.example>: Recipient address rejected: User unknown", "5.1.1", "mx.corp.example"),
        Cause.UNKNOWN_RECIPIENT,
    ),
    Sample(
        "gmail-full",
        gmail(
            "452 4.2.2 The recipient's inbox is out of storage space. x - gsmtp", "4.2.2", "gmail-smtp-in.l.google.com"
        ),
        Cause.MAILBOX_FULL,
        GOOGLE,
    ),
    Sample(
        "gmail-dns",
        report(
            "googlemail.com",
            "5.1.2",
            "",
            prose="DNS Error: 12345678 DNS type 'mx' lookup of corp.example responded with code NXDOMAIN\nDomain "
            "name not found: corp.example",
        ),
        Cause.NO_SUCH_DOMAIN,
    ),
    Sample(
        "gmail-blocked",
        report("googlemail.com", "5.0.0", "Message rejected. See https://support.google.com/mail/answer/69585"),
        Cause.SPAM,
        GOOGLE,
    ),
    Sample(
        "gmail-limit",
        report("googlemail.com", "5.4.5", "550 5.4.5 Daily user sending limit exceeded. x - gsmtp"),
        Cause.SENDING_LIMIT,
        GOOGLE,
    ),
    Sample(
        "gmail-old",
        plain(
            "Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
            "Delivery Status Notification (Failure)",
            "Delivery to the following recipient failed permanently:\n\n     bob@corp.example\n\nTechnical details "
            "of permanent failure: \nGoogle tried to deliver your message, but it was rejected by the server for the "
            "recipient domain corp.example by mx.corp.example. [192.0.2.9].\n\nThe error that the other server "
            "returned was:\n550 5.7.1 Message rejected as spam\n\n----- Original message -----\n\nx\n",
            "X-Failed-Recipients: bob@corp.example\n",
        ),
        Cause.SPAM,
    ),
    Sample(
        "gmail-delay",
        report(
            "googlemail.com",
            "4.4.1",
            "The recipient server did not accept our requests to connect. [mx.corp.example 192.0.2.9: timed out]",
            action="delayed",
        ),
        Cause.UNREACHABLE,
    ),
    # Postfix
    Sample(
        "postfix-gmail-dmarc", postfix(GMAIL_DMARC, "5.7.26", "aspmx.l.google.com", "end of DATA"), Cause.DMARC, GOOGLE
    ),
    Sample(
        "postfix-gmail-spf",
        postfix("550 5.7.27 SPF authentication didn't pass x - gsmtp", "5.7.27", "aspmx.l.google.com", "end of DATA"),
        Cause.SPF,
        GOOGLE,
    ),
    Sample(
        "postfix-gmail-ptr",
        postfix(
            "550 5.7.25 The sending IP address doesn't have a PTR record. x - gsmtp", "5.7.25", "aspmx.l.google.com"
        ),
        Cause.REVERSE_DNS,
        GOOGLE,
    ),
    Sample(
        "postfix-spamhaus",
        postfix(
            "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            "5.7.1",
            "mx.corp.example",
        ),
        Cause.ADDRESS_LISTED,
    ),
    Sample(
        "postfix-relay",
        postfix("554 5.7.1 <bob@corp.example>: Relay access denied", "5.7.1", "mx.corp.example"),
        Cause.RELAY_DENIED,
    ),
    Sample(
        "postfix-grey",
        postfix("450 4.2.0 <bob@corp.example>: Recipient address rejected: Greylisted", "4.2.0", "mx.corp.example"),
        Cause.GREYLISTED,
    ),
    Sample(
        "postfix-nohost",
        report(
            "out.author.example",
            "5.4.4",
            "",
            prose="<bob@corp.example>: Host or domain name not found. Name service error for\n    name=corp.example "
            "type=A: Host not found",
        ),
        Cause.NO_SUCH_DOMAIN,
    ),
    Sample(
        "postfix-timeout",
        report(
            "out.author.example",
            "4.4.1",
            "",
            prose="<bob@corp.example>: connect to mx.corp.example[192.0.2.9]:25: Connection timed out",
        ),
        Cause.UNREACHABLE,
    ),
    Sample(
        "postfix-size",
        postfix("552 5.3.4 Message size exceeds fixed limit", "5.3.4", "mx.corp.example", "MAIL FROM"),
        Cause.TOO_BIG,
    ),
    Sample(
        "postfix-verify",
        postfix(
            "550 5.1.1 <bob@corp.example>: Recipient address rejected: undeliverable address: host "
            "inner.corp.example[10.0.0.1] said: 550 5.2.2 Mailbox full (in reply to RCPT TO command)",
            "5.1.1",
            "mx.corp.example",
        ),
        Cause.MAILBOX_FULL,
        OTHER,
        OTHER,
    ),
    # Exim
    Sample(
        "exim-rcpt",
        exim(
            "host mx.corp.example [192.0.2.9]\n    SMTP error from remote mail server after RCPT "
            "TO:<bob@corp.example>:\n    550 No such user here"
        ),
        Cause.UNKNOWN_RECIPIENT,
    ),
    Sample(
        "exim-dmarc",
        exim(
            f"host aspmx.l.google.com [192.0.2.9]\n    SMTP error from remote mail server after pipelined end of "
            f"data:\n    {GMAIL_DMARC}"
        ),
        Cause.DMARC,
        GOOGLE,
    ),
    Sample("exim-unrouteable", exim("Unrouteable address"), Cause.UNKNOWN_RECIPIENT),
    Sample(
        "exim-retry",
        exim(
            "retry timeout exceeded: all hosts for 'corp.example' have been failing for a long time: could not connect"
        ),
        Cause.UNREACHABLE,
    ),
    Sample("exim-full", exim("mailbox is full (quota exceeded while writing to file /mail)"), Cause.MAILBOX_FULL),
    # qmail
    Sample(
        "qmail-remote",
        qmail(
            "192.0.2.9 does not like recipient.\nRemote host said: 550 5.1.1 <bob@corp.example>: User "
            "unknown\nGiving up on 192.0.2.9."
        ),
        Cause.UNKNOWN_RECIPIENT,
    ),
    Sample(
        "qmail-data",
        qmail(
            "192.0.2.9 failed after I sent the message.\nRemote host said: 554 5.7.9 Message not accepted for policy "
            "reasons. See https://postmaster.yahooinc.com/error-codes"
        ),
        Cause.DMARC,
        Provider.YAHOO,
    ),
    Sample("qmail-local", qmail("Sorry, no mailbox here by that name. (#5.1.1)"), Cause.UNKNOWN_RECIPIENT),
    Sample("qmail-host", qmail("Sorry, I couldn't find any host named corp.example. (#5.1.2)"), Cause.NO_SUCH_DOMAIN),
    Sample(
        "qmail-connect",
        qmail(
            "Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)\nI'm not going to try again; this "
            "message has been in the queue too long."
        ),
        Cause.UNREACHABLE,
    ),
    # sendmail
    Sample(
        "sendmail-user",
        sendmail(
            "550 5.1.1 <bob@corp.example>... User unknown",
            ">>> DATA\n<<< 550 5.1.1 <bob@corp.example>... User unknown\n<<< 503 5.0.0 Need RCPT (recipient)",
        ),
        Cause.UNKNOWN_RECIPIENT,
    ),
    Sample(
        "sendmail-loop",
        sendmail("554 5.4.6 Too many hops 26 (25 max)", "554 5.4.6 Too many hops 26 (25 max)"),
        Cause.LOOP,
    ),
    # others
    Sample(
        "yahoo-plain",
        plain(
            "MAILER-DAEMON@yahoo.com",
            "Failure Notice",
            "Sorry, we were unable to deliver your message to the following address.\n\n<bob@corp.example>:\n550: "
            "5.1.1 No such user\n\n--- Below this line is a copy of the message.\n",
        ),
        Cause.UNKNOWN_RECIPIENT,
    ),
    Sample(
        "ses",
        report(
            "a8-31.smtp-out.amazonses.com",
            "5.1.1",
            "550 5.1.1 user unknown",
            "mx.corp.example",
            "An error occurred while trying to deliver the mail to the following recipients:\nbob@corp.example",
        ),
        Cause.UNKNOWN_RECIPIENT,
    ),
    Sample(
        "gmx",
        postfix(
            "554-gmx.net (mxgmx016) Nemesis ESMTP Service not available 554-No SMTP service 554-Bad DNS PTR resource "
            "record. 554 For explanation visit https://postmaster.gmx.net/x",
            "5.0.0",
            "mx00.gmx.net",
        ),
        Cause.REVERSE_DNS,
        Provider.GMX,
    ),
    Sample(
        "icloud",
        postfix(
            "554 5.7.1 [HM08] Message rejected due to local policy. https://support.apple.com/x",
            "5.7.1",
            "mx01.mail.icloud.com",
            "end of DATA",
        ),
        Cause.SPAM,
        Provider.APPLE,
    ),
    Sample("waypost", report("gw.corp.example", "5.7.1", f"{GMAIL_DMARC}", "aspmx.l.google.com"), Cause.DMARC, GOOGLE),
)
