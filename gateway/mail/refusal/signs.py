"""The table of signs: provider, status and text of one reply -> its cause.

The first row that fits counts, so what a provider means stands above what the registry means, and text above numbers.
The numbers that Google and Microsoft give meanings of their own are why no row may trust a number alone across
providers: 5.7.27 is SPF at Google and a null MX in the registry, 5.7.30 DKIM there and REQUIRETLS here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.mail.refusal.cause import Cause
from gateway.mail.refusal.provider import Provider
from gateway.model.reply import Reply


class _Sign(NamedTuple):
    provider: Provider | None
    """None: any."""
    code: str
    """How the basic code begins."""
    detail: str
    """Subject and detail of the enhanced code, a pattern for all of it; empty: any or none."""
    words: str
    """A pattern to be found in the text, in any case; empty: any."""
    cause: Cause


_MOST_TEXT = 2000
"""Characters of a reply that are searched."""
_LISTED = r"spamhaus|DNSBL|RBL|block(?:ed)? (?:list|using)|blocklist|blacklist|barracudacentral|banned sending IP"
_RELAYING = (
    r"relay(?:ing)?\b.*(?:denied|not permitted|not allowed|prohibited)"
    r"|unable to relay|not permitted to relay|we do not relay|rcpthosts"
)
_NO_SENDER = r"sender verify failed|sender address rejected|(?:domain of|from the) sender|sender domain|verify .*sender"
_FULL = r"over ?quota|quota exceeded|mailbox (?:is )?full|exceeded (?:storage|quota)|out of storage|space for user"
_MAILBOX = r"(?:user|recipient|mailbox|account|address)"
_SWITCHED_OFF = rf"{_MAILBOX}\b.{{0,30}}(?:disabled|inactive|suspended|deactivated|closed)"
_NO_MAILBOX = (
    rf"{_MAILBOX}\b.{{0,60}}(?:unknown|not found|doesn.?t exist|not exist|invalid|unavailable|not listed)"
    rf"|(?:no such|unknown|invalid) (?:e-?mail )?{_MAILBOX}|no mailbox here|undeliverable address|unrouteable address"
)
_NO_CONNECTION = (
    r"connection (?:refused|timed out|reset|died)|no route to host|could ?n[o']t (?:connect|establish|set up)"
    r"|unable to connect|lost connection|conversation with"
)
_NO_DOMAIN = (
    r"host (?:or domain name )?not found|name service error|no such domain|domain .*(?:not found|not exist)"
    r"|couldn't find any host|unrouteable mail domain|NXDOMAIN"
)

_G, _M, _Y, _A = Provider.GOOGLE, Provider.MICROSOFT, Provider.YAHOO, Provider.APPLE

_SIGNS: tuple[_Sign, ...] = tuple(
    _Sign(*row)
    for row in (
        # Google: sender guidelines and "SMTP error reference" of Workspace
        (_G, "", r"7\.(?:1|26)", r"DMARC (?:policy|verif|initiative)|'s policy", Cause.DMARC),
        (_G, "", r"7\.26", "", Cause.UNAUTHENTICATED),
        (_G, "", r"7\.27", "", Cause.SPF),
        (_G, "", r"7\.28", "", Cause.RATE),
        (_G, "", r"7\.29", "", Cause.TLS),
        (_G, "", r"7\.30", "", Cause.DKIM),
        (_G, "", r"7\.(?:31|40)", "", Cause.NO_DMARC_RECORD),
        (_G, "", r"7\.32", "", Cause.ALIGNMENT),
        (_G, "", r"7\.(?:23|25)", "", Cause.REVERSE_DNS),
        (_G, "", r"7\.0", "not in whitelist", Cause.NOT_A_GATEWAY),
        (_G, "", r"7\.0", r"\bTLS\b", Cause.TLS),
        (_G, "", r"7\.[01]", r"\bPTR\b|reverse DNS", Cause.REVERSE_DNS),
        (_G, "", r"7\.[01]", r"relay (?:denied|access)|for relay|mail relay", Cause.RELAY_DENIED),
        (_G, "", r"7\.[01]", r"multiple .*(?:From|header)|missing|duplicate|RFC.?5322", Cause.MALFORMED),
        (_G, "", r"7\.[01]", r"\bgcdp\b", Cause.RULE),
        (_G, "4", r"7\.0", r"reputation|suspicious", Cause.REPUTATION),
        (_G, "4", r"7\.0", "", Cause.RATE),
        (_G, "552", r"7\.0", "", Cause.BLOCKED_CONTENT),
        (_G, "5", r"7\.[01]", r"unsolicited|\bspam\b|reputation", Cause.SPAM),
        (_G, "4", r"3\.0", "Multiple destination domains", Cause.MANY_DOMAINS),
        (_G, "5", r"3\.4", "header", Cause.HEADER_TOO_BIG),
        (_G, "", r"4\.5", "", Cause.SENDING_LIMIT),
        (_G, "4", r"2\.1", "", Cause.RECIPIENT_RATE),
        (_G, "", "", r"^Message rejected\b", Cause.SPAM),
        # Microsoft: "Email non-delivery reports in Exchange Online" and postmaster.live.com
        (_M, "", "", r"TenantInboundAttribution.*Direct Send|Direct Send not allowed", Cause.DIRECT_SEND),
        (_M, "5", r"7\.68", "", Cause.DIRECT_SEND),
        (_M, "5", r"7\.51", "", Cause.CONNECTOR),
        (_M, "", "", "TenantInboundAttribution", Cause.CONNECTOR),
        (_M, "5", r"7\.(?:54|64)", "", Cause.RELAY_DENIED),
        (_M, "", "", "TenantAttribution", Cause.RELAY_DENIED),
        (_M, "5", r"7\.57", "", Cause.LOGIN),
        (_M, "5", r"7\.60", "", Cause.SENDER_DENIED),
        (_M, "5", r"7\.509", "", Cause.DMARC),
        (_M, "5", r"7\.515", "", Cause.BULK_SENDER),
        (_M, "5", r"7\.367", "", Cause.BROKEN_BEHIND_MICROSOFT),
        (_M, "5", r"7\.1", r"\bDMARC\b", Cause.DMARC),
        (_M, "5", r"7\.6(?:0[6-9]|[1-4]\d)", "", Cause.ADDRESS_LISTED),
        (_M, "5", r"7\.1", r"Spamhaus|block ?list|banned sending IP|S\d{4}\)", Cause.ADDRESS_LISTED),
        (_M, "4", r"7\.[56]\d\d", "", Cause.THROTTLED),
        (_M, "5", r"7\.(?:50[1-8]|511|70[58]|750)|1\.8", "", Cause.SENDER_BLOCKED),
        (_M, "4", r"4\.62", "", Cause.REGION),
        (_M, "", "", r"ATTR35|wrong Office 365 region", Cause.REGION),
        (_M, "5", r"4\.1", "Access denied", Cause.DIRECTORY),
        (_M, "5", r"1\.10", "", Cause.UNKNOWN_RECIPIENT),
        (_M, "5", r"4\.14", "", Cause.LOOP),
        (_M, "4", r"4\.0", "made redundant|shadow copy", Cause.SERVER_TROUBLE),
        (_M, "", "", r"RecipSizeLimit|SendSizeLimit", Cause.TOO_BIG),
        (_M, "", "", r"RESOLVER\.RST|not authorized to send to|DeliveryRestriction", Cause.RECIPIENT_RESTRICTED),
        (_M, "5", r"7\.(?:12[49]|13[3-6])", "", Cause.RECIPIENT_RESTRICTED),
        (_M, "", "", r"TRANSPORT\.RULES|rejected by (?:a|an|the) .*rule", Cause.RULE),
        (_M, "", r"7\.32[0-5]|7\.5|4\.317", "certificate", Cause.CERTIFICATE),
        (_M, "", r"4\.31[2-9]", "", Cause.UNREACHABLE),
        (_M, "", r"4\.300", "", Cause.EXPIRED),
        (_M, "5", r"7\.(?:350|703)", "", Cause.SPAM),
        # Yahoo and AOL: postmaster error codes
        (_Y, "5", r"7\.9", "", Cause.DMARC),
        (_Y, "", "", r"\[TSS?\d+\]", Cause.THROTTLED),
        (_Y, "", "", r"\[(?:BL|IPTS)\d+\]", Cause.ADDRESS_LISTED),
        (_Y, "5", "", r"dd This user doesn't have|mailbox .*not found", Cause.UNKNOWN_RECIPIENT),
        # Apple iCloud
        (_A, "5", "", r"\[CS01\]", Cause.POLICY),
        (_A, "", "", r"\[HM\d\d\]", Cause.SPAM),
        (Provider.MIMECAST, "5", "", "DMARC", Cause.DMARC),
        (Provider.MIMECAST, "451", "", "Internal resources|greylist", Cause.GREYLISTED),
        (Provider.PROOFPOINT, "", "", "ipcheck|Blocked - see", Cause.ADDRESS_LISTED),
        (Provider.GMX, "5", "", r"IP address is|Bad DNS PTR", Cause.REVERSE_DNS),
        # any server: numbers that all use alike
        (None, "5", r"1\.1", "", Cause.UNKNOWN_RECIPIENT),
        (None, "", r"2\.2", "", Cause.MAILBOX_FULL),
        (None, "5", r"6\.11", "", Cause.BARE_NEWLINE),
        # any server: what the words say
        (None, "", "", r"\bDMARC\b", Cause.DMARC),
        (None, "", "", r"\bSPF\b|Sender Policy Framework|openspf", Cause.SPF),
        (None, "5", "", r"\bDKIM\b", Cause.DKIM),
        (None, "", "", _LISTED, Cause.ADDRESS_LISTED),
        (None, "", "", r"gr[ea]y-?list|postgrey", Cause.GREYLISTED),
        (None, "", "", r"reverse (?:DNS|hostname|lookup)|\bPTR\b|\brDNS\b", Cause.REVERSE_DNS),
        (None, "", "", r"Helo command rejected|\bHELO\b.*(?:invalid|reject|not match|FQDN)", Cause.HELO),
        (None, "5", "", _RELAYING, Cause.RELAY_DENIED),
        (None, "", "", r"certificate|X\.?509", Cause.CERTIFICATE),
        (None, "", "", r"STARTTLS|\bTLS\b|encryption (?:required|needed)", Cause.TLS),
        (None, "5", "", _NO_SENDER, Cause.SENDER_UNKNOWN),
        (None, "", "", r"bare (?:LF|line ?feed|newline|<LF>)|BareLinefeed|stray newline", Cause.BARE_NEWLINE),
        (None, "", "", r"too many (?:hops|Received)|hop count|(?:mail|routing) loop|loops back", Cause.LOOP),
        (None, "", "", _FULL, Cause.MAILBOX_FULL),
        (None, "5", "", r"too (?:big|large)|size (?:limit|exceed)|exceeds? .*size|message size", Cause.TOO_BIG),
        (None, "5", "", _SWITCHED_OFF, Cause.MAILBOX_DISABLED),
        (None, "5", "", _NO_MAILBOX, Cause.UNKNOWN_RECIPIENT),
        (None, "5", "", r"\brestricted\b|only accepts|not authorized to send to", Cause.RECIPIENT_RESTRICTED),
        (None, "", "", r"virus|malware|infected|attachment|executable|\bbanned\b", Cause.BLOCKED_CONTENT),
        (None, "", "", r"reputation", Cause.REPUTATION),
        (None, "5", "", r"\bspam\b|unsolicited|\bUCE\b|(?:junk|bulk) mail", Cause.SPAM),
        (None, "4", "", r"too many .*connections|connection limit|concurrent", Cause.TOO_MANY_CONNECTIONS),
        (None, "", "", r"too many recipients", Cause.TOO_MANY_RECIPIENTS),
        (None, "4", "", r"rate limit|too (?:many|much) (?:messages|mail)|throttl|slow down", Cause.RATE),
        (None, "", "", _NO_CONNECTION, Cause.UNREACHABLE),
        (None, "", "", _NO_DOMAIN, Cause.NO_SUCH_DOMAIN),
        (None, "", "", r"(?:does not|doesn't) accept (?:any )?mail|null ?MX", Cause.NULL_MX),
        # any server: the registry (RFC 3463, RFC 5248 and what amends them)
        (None, "556", "", "", Cause.NULL_MX),
        (None, "", r"1\.10", "", Cause.NULL_MX),
        (None, "", r"1\.2", "", Cause.NO_SUCH_DOMAIN),
        (None, "", r"1\.[78]", "", Cause.SENDER_UNKNOWN),
        (None, "5", r"1\.[0-9]+", "", Cause.UNKNOWN_RECIPIENT),
        (None, "5", r"2\.[0134]", "", Cause.MAILBOX_DISABLED),
        (None, "4", r"2\.1", "", Cause.RECIPIENT_RATE),
        (None, "", r"2\.3|3\.4", "", Cause.TOO_BIG),
        (None, "4", r"3\.2", "", Cause.TOO_MANY_CONNECTIONS),
        (None, "", r"4\.6", "", Cause.LOOP),
        (None, "", r"4\.7", "", Cause.EXPIRED),
        (None, "", r"4\.[34]", "", Cause.DNS_TROUBLE),
        (None, "", r"4\.[12]", "", Cause.UNREACHABLE),
        (None, "4", r"[34]\.\d+", "", Cause.SERVER_TROUBLE),
        (None, "", r"5\.3", "", Cause.TOO_MANY_RECIPIENTS),
        (None, "5", r"6\.(?:7|8|9)", "", Cause.UTF8),
        (None, "5", r"6\.[1356]", "", Cause.CONVERSION),
        (None, "5", r"6\.0", "", Cause.MALFORMED),
        (None, "", r"7\.(?:10|30)", "", Cause.TLS),
        (None, "", r"7\.(?:20|21|22)", "", Cause.DKIM),
        (None, "", r"7\.2[34]", "", Cause.SPF),
        (None, "", r"7\.25", "", Cause.REVERSE_DNS),
        (None, "", r"7\.26", "", Cause.UNAUTHENTICATED),
        (None, "", r"7\.27", "", Cause.SENDER_UNKNOWN),
        (None, "", r"7\.28", "", Cause.RATE),
        (None, "", r"7\.29", "", Cause.ARC),
        (None, "53[0458]", "", "", Cause.LOGIN),
        (None, "", r"7\.(?:8|57)", "", Cause.LOGIN),
        (None, "50[0-4]|555", "", "", Cause.PROTOCOL),
        (None, "", r"5\.[1-5]", "", Cause.PROTOCOL),
        (None, "452", "", "", Cause.SERVER_TROUBLE),
        (None, "5", r"7\.\d+", "", Cause.POLICY),
        (None, "552", "", "", Cause.TOO_BIG),
        (None, "421", r"[^7].*|", "", Cause.SERVER_TROUBLE),
        (None, "551", "", "", Cause.UNKNOWN_RECIPIENT),
    )
)
_MAILBOXES = re.compile(r"<?[^\s<>\"'()@]{1,64}@[^\s<>\"'()@,;]+>?")
"""An address says nothing about the cause: `spam@` and `spf@` are mailboxes like any other."""
_COMPILED = tuple(
    (
        sign.provider,
        re.compile(sign.code),
        re.compile(sign.detail) if sign.detail else None,
        re.compile(sign.words, re.IGNORECASE) if sign.words else None,
        sign.cause,
    )
    for sign in _SIGNS
)


def find_cause(reply: Reply, provider: Provider) -> Cause:
    """The cause of one reply, taken by itself."""
    code = str(reply.code)
    text = _MAILBOXES.sub("<>", reply.text[:_MOST_TEXT])
    for owner, codes, details, words, cause in _COMPILED:
        if (
            owner in (None, provider)
            and codes.match(code)
            and (details is None or details.fullmatch(reply.detail))
            and (words is None or words.search(text))
        ):
            return cause
    return Cause.UNKNOWN
