"""Every sentence of `waypost explain`, so that they can be read together. `queue show` and `simulate` tell the same
story; the additions of `simulate` are at the end. The meaning of a refusal and the remedy are with the causes, in
`gateway/mail/refusal/advice.toml`."""

from __future__ import annotations

# The head of the page.

TITLE = "Message {id}, received {when}"
FIELD = "{name}: {value}"
HERE = "{utc} ({local} here)"

# The origin of the message.

NO_ORIGIN = "Where it came from was not recorded."
CAME = "It came from {client}{name}, {helo}: {proof}."
CAME_UNKNOWN = "It came through {peer}, {helo}. The true client is unknown: {reason}."
CAME_TO_LEAVE = (
    "It came from {client}{login}, to be sent for {sender}. On its way out it was signed with {count} keys of ours. "
    "SPF is the receiver's question."
)
CAME_INSIDE = (
    "It came from {client}{login}, which is trusted ({trust}): it crossed no border here, so SPF was no question."
)
LOGGED_IN = ", logged in as {login}"
REVERSE_NAME = " ({name})"
HELO = 'which called itself "{helo}"'
NO_HELO = "which gave no name"
PROOFS = {
    "peer": "the address is that of the TCP connection",
    "proxy": "the balancer {peer} gave the address in its PROXY header",
    "xclient": "the relay {peer} gave the address by XCLIENT",
    "received": "our relay {relay} recorded the address in its Received line{way}",
}
WAY = ", from which it came here through {relays}"
AND = " and "

# How it was addressed.

OTHER_SENDER = "It left with the envelope sender <{own}> in place of <{said}>, which is not the sender's."
OTHER_AUTHOR = "Its From was not the sender's: {author} was put in its place."
ENVELOPE = "The envelope: from {sender} to {rcpts}."
NULL_SENDER = "the null sender <>"
NOBODY = "nobody"
MORE_RCPTS = "{rcpts} and {count} more"
AUTHOR = "The author, as the header From says, is at {domain}: DMARC asks who stands behind that name."

# The results of the checks.

WHY = " ({reason})"
SPF = "SPF: {domain}, {identity}, {says}: {result}{why}.{aligned}"
SPF_ALONE = "SPF: {result}{why}."
SPF_IDENTITIES = {"helo": "the HELO name", "mailfrom": "the envelope's domain"}
SPF_SAYS = {
    "pass": "lets {client} send",
    "fail": "does not let {client} send",
    "softfail": "says {client} is probably none of its senders",
    "neutral": "does not say whether {client} may send",
    "none": "says nothing about its senders",
    "permerror": "has a record that cannot be used",
    "temperror": "could not be asked",
}
OWN_DOMAIN = " That is the author's own domain."
ALIGNED = " {domain} is aligned with {author}."
SPF_NOT_ALIGNED = " But {domain} is not aligned with {author}, so it proves nothing about the author."
DKIM = "DKIM: the signature of {domain} (selector {selector}): {result}{why}.{aligned}"
DKIM_NOT_ALIGNED = " It is not aligned with {author}."
UNSIGNED = "DKIM: it carries no signature."
UNREADABLE = "nobody readable"
ARC = "ARC: {result}{why}, sealed by {sealers}."
DMARC_RECORD = 'DMARC: the record at {domain} is "{record}".'
DMARC = "DMARC: {result}{why}."
DMARC_PASS = "DMARC: pass{why}, by aligned {methods}."
DMARC_METHODS = {"spf": "SPF", "dkim": "DKIM"}
DMARC_FAIL = (
    "DMARC: fail{why}. Neither SPF nor DKIM passed for a domain aligned with {author}; the record asks for "
    "p={published}{applied}."
)
APPLIED = ", so that p={policy} applies"
REVERSE_DNS = "Reverse DNS: pass. The client's address is named {name}, and that name leads back to it."
REVERSE_DNS_ELSE = "Reverse DNS: {result} ({reason})."
BLOCK_LISTS = "Block lists: the client is on {listed} of {asked}."
ON_NONE = "none"
BLOCK_LIST_ERRORS = "Block lists without a usable answer: {lists}."
GREYLIST = "The greylist knows its sender as `{key}`: {since}, {what}."
GREYLIST_SINCE = "{seconds} s after the first try"
GREYLIST_FIRST = "at first"
GREYLIST_WAITS = "it was to come back"
GREYLIST_WAITED = "it had waited, or been let in before"

# The decision.

GROUND = "Ground beyond the published record: {ground}{meaning}{seen}."
GROUND_MEANING = ": {meaning}"
GROUNDS = {
    "own-domain": "the author domain is one of ours",
    "protected": "the author domain is one that the configuration protects",
    "strange-source": "the author domain's mail passes here, and from this source it never has",
    "direct-spoof": "the author domain signed nothing, and nothing shows a list or forwarder on the way",
}
ADDED_FIELD = "The signature covers one field of a name, and another stands above it: {fields}."
INDIRECT = "It may have taken an indirect way: {evidence} ({source})."
OVERRIDE = "The published policy was not followed ({type}): {comment}."
DECISION = '{rule} of set "{rule_set}" decided to {action}: {word}, answered `{reply}`.'
RULE = 'Rule "{rule}"'
NO_RULE = 'No rule matched, so "{rule}"'
WOULD = 'Set "{rule_set}" would {action}, by rule "{rule}".'
ACTIONS = {
    "accept": "accept it",
    "quarantine": "deliver it, marked for the junk folder",
    "hold": "keep it here until an admin decides",
    "defer": "ask the client to try again later",
    "reject": "refuse it",
    "greylist": "ask the client to try again later, as it is unknown here",
}

# The lists below the story.

SECTIONS = {
    "rcpts": "Recipients",
    "routes": "Routes",
    "acts": "Done with it",
    "attempts": "Attempts",
    "damaged": "Damaged",
    "rules": "Rules considered",
    "rule": "The rule that decided",
    "beside": "Beside them, deciding nothing",
    "dns": "DNS answers",
    "added": "Fields put above",
    "sealed": "ARC set only in the copies for",
    "omitted": "Fields left out",
    "checked": "Checked now",
}
STATE = "{rcpt}: {state}{why}"
ROUTE = "{rcpt} -> {backend}"
ACT = "{when}: {what}{by}"
ACT_BY = " by {who}"
RULE_LINE = "{matched}  {rule} at {stage}{shadow}"
MATCHED = {"yes": "matched", "no": "no     "}
SHADOW = " (shadow)"
BESIDE = "{rule_set}: {action}, by rule {rule}"
LOOKUP = "{name} {type}: {answer}"

# Attempts.

ATTEMPT = "{when} to {backend}, {seconds} s"
OUTCOME = "{rcpt}: {kind} {decider}, {tls}: {reply}"
BY_HOST = "by {host} [{address}]"
BY_US = "by this gateway itself, no host was reached"
BY_US_ABOUT = "by this gateway itself, about the host [{address}]"
TLS = "{version}, certificate {certificate}"
NO_TLS = "no TLS"
NO_CERTIFICATE = "unknown"
CAUSE = "cause: {cause}{provider}{relay}"
CAUSE_AT = " at {provider}"
CAUSE_BEHIND = ", behind {relay}"
TO_DO = "to do: {advice}"
NEXT = "next: {when} to {backend} for {rcpts}"

# The stored content.

CONTENT = "content: {state}"
IDENTICAL = "identical to what was received"
ALTERED = "ALTERED: it does not hash to what was received"
DELIVERED = "deleted after delivery; the evidence is kept"
DONE_WITH = "deleted when nothing was left to do; the evidence is kept"
NEVER_KEPT = "never kept, because the message was refused; the evidence is kept"
RECEIVED = "received: {octets} octets, SHA-256 {digest}"
REMOVED = "removed before sending: {fields}"
NO_FIELD = "a line that is no field"
REPLAYED = "replayed: {word}, judging the stored evidence again gives {what}"
SAME_DECISION = "the same decision"
OTHER_DECISION = "a different decision: rules or code changed"
OTHER_VERSION = "replayed: {word}, checks of version {then} judged it, and these are {now}"
NOT_REPLAYED = "replayed: not judged again, because the configuration or the rules are broken (`waypost check`)"

# What `simulate` adds.

SIMULATED = "{action}: {reply}"
ASSUMED = "Assumed: {author}; {client}."
ASSUMED_AUTHOR = {
    "familiar": "mail of the author's domain has passed here from this network (familiar)",
    "stranger": "mail of the author's domain has passed here, but never from this network (stranger)",
    "unknown": "no mail of the author's domain has passed here (unknown)",
}
ASSUMED_CLIENT = {
    "known": "others' mail has passed from this client (known)",
    "unknown": "no others' mail has passed from it (unknown)",
}
OR = " or "
LINE_ENDS = "Line ends of the file: {newlines}."
RCPTS_REFUSED = "Recipients refused"
BAD_CASES = {
    "misspelt": "{key} is not an option; did you mean {close}?",
    "missing": "{name} is missing",
    "address": "ip: {value} is not an IP address",
    "history": "{name}: {value} is not {words}",
    "text": "{name}: a string is wanted",
    "mailbox": "{name}: {value} is not a mail address",
    "zone": "dns: a path or an object is wanted",
    "flag": "raw: {value} is neither true nor false",
    "number": "now: {value} is not a number of seconds since 1970",
    "domain": "rcpt: {domains} cannot be a domain of ours",
    "json": "this is not JSON: {error}",
    "object": "a case is a JSON object",
}
