"""Every sentence that `waypost headers` prints, so that they can be read together."""

from __future__ import annotations

# The first line: one verdict, with alignment.
VERDICTS = {
    "pass": "DMARC passed for {author}: {how}.",
    "fail": "DMARC failed for {author}: {how}.",
    "none": "DMARC does not protect {author}, which publishes no record for it: {how}.",
    "": "No server wrote a DMARC result for {author}: {how}.",
    "other": "DMARC came to no result for {author} ({word}): {how}.",
    "bestguesspass": "{author} publishes no DMARC record; with one the message would have passed: {how}.",
    "unknown": "No server wrote down what it found (no Authentication-Results field).",
}
HOW = {
    "aligned": "{method} passed for {domain}, which is aligned",
    "unaligned": "{method} passed for {domain}, which is not aligned with From",
    "spf": "SPF came to {result} for {domain}",
    "no spf": "{domain} has no SPF record",
    "broken": "the signature of {domain} does not verify",
    "unsigned": "the message is not signed",
    "silent": "the field says nothing of SPF and DKIM",
}

# About the input.
PASTED = {
    "quoted": "Each line began with a quotation mark (>), which was taken off.",
    "blank lines": "Blank lines stood between the lines of the header; they were taken out.",
    "indented": "All lines were indented; the indentation was taken off.",
    "wide": "The file was in UTF-16; it was read as text.",
}
NO_HEADER = "The file holds no header field: save the message as it is (.eml), or paste its whole header."
OUTLOOK_FILE = (
    "This is an Outlook file (.msg). Open the message in Outlook, copy the header from File > Properties > Internet "
    "headers, and save it as text."
)
BOUNCE = (
    "This is a bounce: `waypost bounce FILE` tells why the message in it was refused. Below is the bounce's own way."
)

# SPF judged where it means nothing.
SECOND_CHECK = (
    "SPF was judged against {address}{name}, a server that had the message from {origin}. Behind the server that took "
    "the message first SPF has no data about {domain}: spf={result} says nothing about the sender."
)
EDGE_SAID = " At the edge {writer} had already found spf={result}."
FOLLOWS = " dmarc=fail follows from that check alone, as the message is not signed: it is no sign of forgery."
SENDER_OR_FORWARDER = " If {name} sends for {domain}, the SPF record lacks it; if it forwards, only DKIM can help."
FORWARDER_ONLY = " If {name} forwards for the recipient, only a DKIM signature of the sender can help."
SKIP = {
    "receiver": "Only {place} can correct it: SPF belongs where it takes mail from outside. Tell its postmaster.",
    "microsoft": (
        "Turn on enhanced filtering for the relay's connector: `Set-InboundConnector NAME -EFSkipIPs {address}`. Then "
        "Microsoft judges the address before it, and honours DMARC."
    ),
    "until": "Until then act on no DMARC result of mail that comes through this relay.",
    "google": "List {address} under Inbound gateway in the Google Admin console; then Google does not judge it.",
    "other": "Let {place} leave out SPF for mail from {address}.",
    "record": "Do not change the SPF record of {domain}.",
}

# Reasons why DMARC failed, or why no domain vouches.
LIST = (
    "The message came through a mailing list ({name}), which sends it on in its own name and often changes it{broken}. "
    "That a check fails for {author} is usual there and no sign of forgery."
)
LIST_BROKEN = ", so that the signature of {author} was broken"
FORWARDED = (
    "The message was forwarded ({how}): SPF was judged for the forwarder, and only a whole DKIM signature of {author} "
    "can pass."
)
FORWARD_MARKS = {
    "resent-from": "Resent-From is {value}",
    "x-forwarded-for": "X-Forwarded-For is {value}",
    "x-forwarded-to": "X-Forwarded-To is {value}",
    "srs": "the return path was rewritten: {value}",
}
NOT_ALIGNED = (
    "The checks passed, but for other domains ({domains}). DMARC asks for one that belongs to {author}, the domain in "
    "From."
)
SPF_FAIL = "SPF failed: {address} is not listed for {domain}, and no signature of {author} vouches for the message."
SPF_FAIL_BROKEN = "SPF failed: {address} is not listed for {domain}, and the signature of {author} does not verify."
NOTHING_PASSED = "Nothing passed for {author}: {spf}, and no signature of {author} vouches for the message."
SPF_UNUSABLE = "the SPF record of {domain} could not be used ({result})"
SPF_MISSING = "{domain} has no SPF record"
SPF_ALONE = "SPF gave {result} for {domain}, judged against {address}; the field gives no DMARC result."
DELIVERED_NONE = " The policy asks for nothing (p=none), so the message was delivered."
NO_RECORDS = (
    "{author} publishes {what}, so nothing can vouch for its mail{signer}. Receivers then go by their own judgement."
)
NO_RECORD_KINDS = {"both": "no SPF and no DMARC record", "spf": "no SPF record", "dmarc": "no DMARC record"}
OTHER_SIGNER = ", and the signature of {signer} says nothing about it"
FIXES = {
    "list it": "If {address} is yours, list it in the SPF record of {domain}, and sign with DKIM as {author}.",
    "check": "`waypost spf check {domain}` shows what is wrong with the SPF record.",
    "relay": (
        "If {address}{name} is a relay of the recipient, the check stands at the wrong place: with Microsoft 365, "
        "`Set-InboundConnector NAME -EFSkipIPs {address}`."
    ),
    "forged": "If not, the message was sent by someone else in the name of {author}.",
    "sign": "Have the sender sign with a DKIM key of {author}, or use a return path in {author}.",
    "google": (
        "Google Workspace signs with its own domain until DKIM is turned on for {author}: Google Admin console, Apps > "
        "Google Workspace > Gmail > Authenticate email."
    ),
    "microsoft": (
        "Microsoft 365 signs with its own domain until DKIM is turned on for {author}: Defender portal, Email "
        "authentication settings > DKIM."
    ),
    "publish": "Its owner should publish SPF and DMARC records and sign: `waypost dmarc advise {author}`.",
}

# A policy that was not honoured.
OVERRIDDEN = (
    "{domain} asks receivers to refuse mail that fails DMARC. This message failed, and the receiver overrode the "
    "policy (action={action}) and delivered it."
)
OVERRIDE_EDGE = " Here that was right: the failure comes from a check behind the edge."
OVERRIDE_ARC = (
    " The receiver relied on ARC (arc=pass): DMARC had passed before the message was changed on its way, so that is "
    "reasonable."
)
OVERRIDE_INDIRECT = " It was forwarded or came through a list, where such a failure is no proof of forgery."
OVERRIDE_RELAY = " It came through a relay, where SPF has no data about the author, so failing is no proof of forgery."
SPF_FOR_OTHER = " SPF passed only for {domain}, which anyone may own; nothing ties the message to {author}"
NOTHING_TIES = " Nothing ties the message to {author}"
TAKE_FOR_FORGED = ", not even a broken signature: take it for forged."
HONOUR = {
    "microsoft": (
        'Honour the policy: `Set-AntiPhishPolicy -Identity "Office365 AntiPhish Default" -HonorDmarcPolicy $true '
        "-DmarcRejectAction Reject`. It acts only on what spoof intelligence detects, which differs by licence."
    ),
    "rule": (
        "Besides, add a transport rule: header Authentication-Results contains `dmarc=fail action=oreject` -> "
        "quarantine."
    ),
    "gateway": "To refuse such mail before it is taken, judge it in a gateway that the MX records point at.",
    "other": "Let the receiving server honour p=reject, or quarantine what fails.",
}

# The recipient's own domain in From.
OWN_DOMAIN = "From is {domain}, the recipient's own domain, and nothing authenticates it: anyone could have sent this."
OWN_BY_OTHERS = "From is {domain}, the recipient's own domain. The checks passed, but for {others}, not for {domain}."
DIRECT_SEND = " It came from {address} straight to the tenant's public address."
OWN_FIXES = {
    "refuse": "Refuse mail from outside whose From is {domain} and that is not authenticated.",
    "direct": "Close that way: `Set-OrganizationConfig -RejectDirectSend $true`, or a restrictive connector.",
    "vendor": "If {others} sends for you, have it sign with a DKIM key of {domain}.",
    "allow": "Until then Microsoft 365 can let this pair pass: Tenant Allow/Block List > Spoofed senders.",
}

# Signatures and chains.
BROKEN_BODY = "The signature of {domain} is broken: the body was changed after it was signed."
BROKEN_OTHER = "The signature of {domain} does not verify ({reason})."
KEY_TROUBLE = "The signature of {domain} could not be checked, because of its key ({reason})."
STILL_PASSES = " DMARC passes by SPF here; once the message is forwarded, it fails."
SEALED_WHOLE = " It was still whole when {sealer} sealed the message (ARC)."
AUTOPSY = "`waypost autopsy FILE` on this message names the change, and the hop that most likely made it."
DKIM_CHECK = "`waypost dkim check {selector} {domain}` shows the key."
ARC_BROKEN = "The ARC chain ({sealers}) was found broken by the last sealer."
ARC_SEALED = "ARC: sealed by {sealers}; the seals say so themselves, they are not verified here."
ARC_PASSED = " {writer} verified the chain (arc=pass)."
PASSED = "DMARC passed for {domain}; {how} passed."

# The way.
DELAY = "Hop {number} took {span}: the message waited before {host} took it."
DELAY_FIX = "Look in the log of {host} for replies with 4: greylisting, throttling or an outage."
CLOCK = "Hop {number} is dated before the hop ahead of it: a clock is wrong."
NO_TLS = "Hop {number}, from {sender} to {host}, was not encrypted."

CONNECTED = "CIP {address}: the address that connected"

# Microsoft's words.
DMARC_WORD = "dmarc={word}: {meaning}."
DMARC_ACTION = "action={word}: {meaning}."
COMPAUTH = "compauth={word} reason={reason}: {meaning}."
SKIPPED = "Enhanced filtering looked past the listed relays: Microsoft judged {address}, the true client."
SPAM_LEVEL = "SCL {level}: {meaning}{category}."
CATEGORY = "; the filter took it for {category}"
INTERNAL = (
    "AuthAs is Internal: Exchange took the message for one of its own organisation, so that its filters did not look "
    "at it."
)
ACTIONS = {
    "quarantine": "the message was marked for quarantine or Junk, as the domain asks",
    "reject": "the message was to be refused, as the domain asks",
    "pct.quarantine": "the domain asks for quarantine for a part of its mail only (pct), and this was not in that part",
    "pct.reject": "the domain asks to refuse a part of its mail only (pct), and this was not in that part",
    "permerror": "the domain's record could not be used",
    "temperror": "DNS gave no answer at that moment",
}
DMARC_WORDS = {
    "bestguesspass": "the domain publishes no DMARC record; with one the message would have passed",
}
REASONS = {
    # by the beginning of compauth's reason code; the longer beginnings come first
    "000": "DMARC failed, and the domain asks for quarantine or reject",
    "001": "no explicit authentication, and nothing else speaks for the sender",
    "002": "an administrator has forbidden this sender to be spoofed",
    "010": "DMARC failed, and the author's domain is one of the tenant's own",
    "130": "DMARC failed, but a trusted sealer's ARC results say that it passed before",
    "501": "DMARC was not enforced, as it is a non-delivery report",
    "502": "DMARC was not enforced, as it is a non-delivery report",
    "1": "the message was authenticated",
    "2": "implicit signs speak for the sender, but no explicit authentication",
    "3": "the message was not checked",
    "4": "the check was bypassed: nothing about authenticity follows from it",
    "5": "DMARC was not enforced",
    "6": "no explicit authentication, and the author's domain is one of the tenant's own",
    "7": "DMARC was not enforced, as the tenant has often received such mail from there",
    "9": "the check was bypassed: nothing about authenticity follows from it",
}
SCL = {
    -1: "not filtered, since a rule or list lets it through",
    1: "not spam",
    4: "not spam",
    6: "spam",
    9: "certainly spam",
}
PCL = {3: "no phishing suspected", 8: "phishing suspected"}
BCL = {
    0: "not from a bulk sender",
    3: "a bulk sender with few complaints",
    7: "bulk, complaints vary",
    9: "bulk, many complaints",
}
FILTER_VERDICTS = {
    "BLK": "the recipient blocks this sender",
    "NSPM": "the filter found no spam",
    "SFE": "not filtered: the recipient trusts this sender",
    "SKA": "not filtered: an allow list of the anti-spam policy has the sender",
    "SKB": "marked as spam: a block list of the anti-spam policy has the sender",
    "SKI": "not filtered: mail within the organisation",
    "SKN": "not filtered: a rule had marked it as clean before (SCL -1)",
    "SKQ": "released from quarantine",
    "SKS": "a rule had marked it as spam before the filter saw it",
    "SPM": "the filter found spam",
}
CATEGORIES = {
    "AMP": "malware",
    "BULK": "bulk mail",
    "DIMP": "a domain that imitates one of yours",
    "FTBP": "an attachment of a forbidden type",
    "GIMP": "a sender who imitates a contact of the recipient",
    "HPHSH": "phishing, with high confidence",
    "HPHISH": "phishing, with high confidence",
    "HSPM": "spam, with high confidence",
    "INTOS": "phishing within the organisation",
    "MALW": "malware",
    "NONE": "nothing in particular",
    "OSPM": "spam sent by the organisation",
    "PHSH": "phishing",
    "SAP": "a harmful attachment (Safe Attachments)",
    "SPM": "spam",
    "SPOOF": "a forged sender (spoofing)",
    "UIMP": "a sender who imitates a protected user",
}
FOLDER_RULES = {
    "customrules": "a rule of the recipient chose the folder",
    "exclusivesettings": "the recipient takes only mail of known senders, so it went to Junk",
    "spamfilterauthj": "the filter put it into Junk although the sender is authenticated",
    "spamfilterpass": "the filter let it through to the inbox",
}
AUTH_AS = {
    "anonymous": "came from outside without login",
    "external": "came from outside",
    "internal": "taken for mail of the organisation itself",
    "partner": "came by a partner's connector",
}

# Stand-ins for a name that nobody gave, and headings.

SERVER_BEFORE = "the server before it"
SERVER_BETWEEN = "a server on the way"
RECEIVING_SERVER = "the receiving server"
UNNAMED_DOMAIN = "an unnamed domain"
HEADINGS = {"findings": "What it shows", "filter": "Marks of the filter"}
