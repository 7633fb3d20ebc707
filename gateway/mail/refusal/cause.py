"""The causes for which a server refuses mail, the party that each blames, and the form of the advice on it."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.value import Value


class Blame(StrEnum):
    """The subject of a refusal."""

    CLIENT = "client"
    """The server that was refused: its address, names, TLS, certificate, connector, login."""
    AUTHENTICATION = "authentication"
    """SPF, DKIM or DMARC of the message, as the refusing server sees them."""
    SENDER = "sender"
    """The sender's address, domain or account."""
    MESSAGE = "message"
    RECIPIENT = "recipient"
    SITE = "site"
    """The refusing side's own state or limits: it will pass, or that side's administrator must act."""


class Cause(StrEnum):
    """The innermost cause, with the party that it blames."""

    blame: Blame

    def __new__(cls, value: str, blame: Blame) -> Cause:
        cause = str.__new__(cls, value)
        cause._value_ = value
        cause.blame = blame
        return cause

    # authentication
    DMARC = "dmarc", Blame.AUTHENTICATION
    UNAUTHENTICATED = "unauthenticated", Blame.AUTHENTICATION
    SPF = "spf", Blame.AUTHENTICATION
    DKIM = "dkim", Blame.AUTHENTICATION
    ALIGNMENT = "alignment", Blame.AUTHENTICATION
    NO_DMARC_RECORD = "no-dmarc-record", Blame.AUTHENTICATION
    BULK_SENDER = "bulk-sender", Blame.AUTHENTICATION
    ARC = "arc", Blame.AUTHENTICATION
    SENDS_NO_MAIL = "sends-no-mail", Blame.AUTHENTICATION
    ANTI_SPOOFING = "anti-spoofing", Blame.AUTHENTICATION
    # the client
    REVERSE_DNS = "reverse-dns", Blame.CLIENT
    HELO = "helo", Blame.CLIENT
    ADDRESS_LISTED = "address-listed", Blame.CLIENT
    REPUTATION = "reputation", Blame.CLIENT
    NOT_A_GATEWAY = "not-a-gateway", Blame.CLIENT
    CONNECTOR = "connector", Blame.CLIENT
    DIRECT_SEND = "direct-send", Blame.CLIENT
    RELAY_DENIED = "relay-denied", Blame.CLIENT
    LOGIN = "login", Blame.CLIENT
    TLS = "tls", Blame.CLIENT
    CERTIFICATE = "certificate", Blame.CLIENT
    REGION = "region", Blame.CLIENT
    RELAY_POOL = "relay-pool", Blame.CLIENT
    IPV6 = "ipv6", Blame.CLIENT
    MANY_DOMAINS = "many-domains", Blame.CLIENT
    PROTOCOL = "protocol", Blame.CLIENT
    # the sender
    SENDER_DENIED = "sender-denied", Blame.SENDER
    SENDER_BLOCKED = "sender-blocked", Blame.SENDER
    SENDER_UNKNOWN = "sender-unknown", Blame.SENDER
    SENDER_DNS = "sender-dns", Blame.SENDER
    SENDER_REFUSED = "sender-refused", Blame.SENDER
    SENDING_LIMIT = "sending-limit", Blame.SENDER
    AUTO_FORWARDING = "auto-forwarding", Blame.SENDER
    OUTBOUND_RULE = "outbound-rule", Blame.SENDER
    SUPPRESSED = "suppressed", Blame.SENDER
    # the message
    SPAM = "spam", Blame.MESSAGE
    BLOCKED_CONTENT = "blocked-content", Blame.MESSAGE
    RULE = "rule", Blame.MESSAGE
    POLICY = "policy", Blame.MESSAGE
    ADMINISTRATOR = "administrator", Blame.MESSAGE
    NO_FROM = "no-from", Blame.MESSAGE
    SEVERAL_FROM = "several-from", Blame.MESSAGE
    MALFORMED = "malformed", Blame.MESSAGE
    BARE_NEWLINE = "bare-newline", Blame.MESSAGE
    TOO_BIG = "too-big", Blame.MESSAGE
    HEADER_TOO_BIG = "header-too-big", Blame.MESSAGE
    CONVERSION = "conversion", Blame.MESSAGE
    UTF8 = "utf8", Blame.MESSAGE
    LOOP = "loop", Blame.MESSAGE
    # the recipient
    UNKNOWN_RECIPIENT = "unknown-recipient", Blame.RECIPIENT
    DIRECTORY = "directory", Blame.RECIPIENT
    NO_SUCH_DOMAIN = "no-such-domain", Blame.RECIPIENT
    NULL_MX = "null-mx", Blame.RECIPIENT
    MAILBOX_FULL = "mailbox-full", Blame.RECIPIENT
    MAILBOX_DISABLED = "mailbox-disabled", Blame.RECIPIENT
    RECIPIENT_RESTRICTED = "recipient-restricted", Blame.RECIPIENT
    BOUNCES_ONLY = "bounces-only", Blame.RECIPIENT
    RECIPIENT_RATE = "recipient-rate", Blame.RECIPIENT
    MOVED = "moved", Blame.RECIPIENT
    # the site
    THROTTLED = "throttled", Blame.SITE
    RATE = "rate", Blame.SITE
    TOO_MANY_CONNECTIONS = "too-many-connections", Blame.SITE
    TOO_MANY_RECIPIENTS = "too-many-recipients", Blame.SITE
    GREYLISTED = "greylisted", Blame.SITE
    HOLD_FULL = "hold-full", Blame.SITE
    SERVER_TROUBLE = "server-trouble", Blame.SITE
    DNS_TROUBLE = "dns-trouble", Blame.SITE
    UNREACHABLE = "unreachable", Blame.SITE
    NO_ADDRESS = "no-address", Blame.SITE
    EXPIRED = "expired", Blame.SITE
    DELAYED = "delayed", Blame.SITE
    UNKNOWN = "unknown", Blame.MESSAGE
    """No row of the table fits: only the reply's own words remain."""


class Advice(Value):
    """Sentences for people; `never` is empty when there is no common mistake."""

    summary: str
    admin: str
    sender: str
    """The author's remedy after the message has failed."""
    never: str
    waits: bool
    """The cause passes by itself: while the message is still tried, no action is needed."""
