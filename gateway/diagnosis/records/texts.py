"""Every sentence that `waypost dmarc check|advise`, `spf`, `dkim` and `check --dns` print, so that they can be read
together."""

from __future__ import annotations

# Faults in the characters of any record.
ODD = "holds characters that make void what they touch, {characters}"
QUOTES = "holds quotation marks as a part of the record"
BACKSLASHES = "holds backslashes, which the DNS panel put before the semicolons"
BLANK_FIRST = "begins with a blank"
NO_SEMICOLONS = "lacks semicolons between its tags"
COMMAS = "has commas between its tags, where semicolons belong"
NO_BLANK = "lacks the blank after v=spf1"
OLD_SPF = "names a version that was given up; receivers read only v=spf1"
BEGINNING = "must begin with {beginning}"
LETTERS = "must begin with {beginning}, in exactly these letters"
PUBLISH = "publish: {record}"
NEAR = "{name} has a record that receivers do not see: {record}. It {reasons}."
CNAME = (
    "{name} is an alias (CNAME) of {target}, and there is no record: either the target is misspelt, or its owner has "
    "not published it yet"
)
PANEL = "the record stands at {name}: the DNS panel has added the domain once more. Enter the name without the domain"

# dmarc check
DMARC_TITLE = "DMARC of {domain}"
NO_POLICY = "No policy applies: {reason}."
OUTCOME = "Mail in the name of {domain} that fails DMARC: {deed} ({tag}={policy}{place})."
OF_DOMAIN = " of {domain}"
LOWERED = ", one step lower because it is a test"
DEEDS = {
    "none": "the domain asks for nothing",
    "quarantine": "the domain asks receivers to treat it as suspicious",
    "reject": "the domain asks receivers to refuse it",
}
TAG_DEEDS = {"none": "nothing", "quarantine": "treat it as suspicious", "reject": "refuse it"}
TAGS = {
    "v": "the version",
    "p": "what to do with mail of this domain that fails: {deed}",
    "sp": "the same for its subdomains: {deed}",
    "np": "the same for subdomains that do not exist: {deed}",
    "adkim": "{method} alignment is {mode}",
    "t": "a test: the policy one step lower",
    "not t": "not a test",
    "fo": "when failure reports are wanted",
    "not fo": "says nothing without ruf=",
    "rua": "where daily reports go",
    "not rua": "nobody gets reports",
    "ruf": "where failure reports go",
    "not ruf": "nobody gets failure reports",
    "unknown": "DMARC has no such tag",
}
APPLIES = "this is the one for {domain}"
MODES = {"r": "relaxed: a domain of the same organisation is enough", "s": "strict: only the same domain counts"}
PSD = {"y": "the domain is a public suffix", "n": "the domain is an organisation's own", "u": "found by the tree walk"}
OBSOLETE = {
    "pct": "removed by RFC 9989: receivers apply the whole policy; use t=y for a test",
    "rf": "removed by RFC 9989: failure reports have one format",
    "ri": "removed by RFC 9989: reports come once a day",
}
OBSOLETE_TAG = "{name}={value} is {meaning}"
DESTINATIONS = {
    True: "{host} takes them ({record})",
    False: "{host} does not say that it takes them, so no report is sent ({record})",
    None: "{host} gave no answer ({record})",
}
SEVERAL_DMARC = (
    "_dmarc.{domain} has {count} records, and receivers then ignore all of them (RFC 9989 section 4.10): keep one and "
    "delete the others"
)
DMARC_AT_DOMAIN = "{domain} itself has a DMARC record, where nobody looks: it belongs at _dmarc.{domain}"
INHERITED = "{domain} has no record of its own: that of {place} applies, by its sp= or np="
TWICE = "{name}= stands in the record twice: only the first counts, and some receivers drop the record"
NOT_A_TAG = "{part!r} is not a tag"
BAD_TAG = "{name}={value}: {problem}"
NO_P = "the record has no p=: it is read as p=none, and only if it has a valid rua="
P_LATER = "p= does not come right after the version, where older receivers want it"
ALL_NONE = "{name}={value} is not a policy, so receivers read the whole record as p=none (RFC 9989 section 4.10.1)"
SP_NONE = "sp=none leaves subdomains open: anyone can send in the name of one"
NO_RUA = "the record has no rua=: nobody tells you who sends in your name and what fails"
FO_ALONE = "fo= says nothing without ruf="
P_NONE = "p=none asks for nothing: forged mail is delivered"
TAG_PROBLEMS = {
    "policy": "the policies are none, quarantine and reject",
    "mode": "neither r nor s, so r counts",
    "flag": "neither y nor n, so n counts",
    "psd": "the values are y, n and u",
    "mailto": "an address needs mailto: before it",
    "uri": "{uri!r} is not a mailto: address",
    "fo": "the values are 0, 1, d and s",
    "percent": "not a percentage",
    "semicolon": "a semicolon is missing before {tag}=",
}

# dmarc advise
ADVISE_NOW = "now: {record}"
STEPS = {
    "silent": "The SPF record says that the domain sends no mail, so nothing can be lost: refuse everything.",
    "mend": "Mend the record first: {error}.",
    "elsewhere": (
        "The record of {place} applies, so work on that one: `waypost dmarc advise {place}`. A record of its own is "
        "needed only where {domain} is to differ."
    ),
    "first": "Publish a record that asks for nothing and collects reports.",
    "rua": "Add rua=: without reports nobody knows what a stricter policy would hit.",
    "sp": "Leave sp=none out, so that subdomains are protected too. Before that, see that their mail passes.",
    "read": (
        "Read the reports for some weeks (`waypost dmarc report FILE`): each service that sends for the domain must "
        "pass by a DKIM signature of the domain, since SPF is lost when mail is forwarded."
    ),
    "quarantine": "When every source of your own passes, ask for quarantine (p=reject with t=y is the same).",
    "reject": (
        "When nothing of your own has failed for some weeks, ask to refuse. Posts of your people to mailing lists that "
        "alter them may then be lost, where receivers look at the record alone (RFC 9989 section 7.4)."
    ),
    "done": "The policy is as strict as it can be. Keep reading the reports: new services come and go.",
    "spf": "Publish an SPF record with the addresses that send for the domain, ending in ~all or -all.",
    "permit": "Have {hosts} publish {name} with v=DMARC1, or send reports to yourself.",
}

# spf
SPF_TITLE = "SPF of {domain}"
SPF_STEP = "{domain}: {record}"
NO_SPF_RECORD = "(no record)"
SILENT_ALL = "neutral: the record does not say"
LOOKUPS = "Lookups: {lookups} of at most {most}"
VOID_LOOKUPS = ", {void} of at most {most} for names that are not there"
BEYOND = "(beyond {most} lookups: never reached)"
SOUND = "Nothing is wrong with the record."
NOT_LISTED = (
    "The record itself is in order, but it does not list {address}. If that address sends for {domain}, add {term} to "
    "the record."
)
MANY_LOOKUPS = (
    "needs {lookups} lookups; receivers stop after {most} with permerror (RFC 7208 section 4.6.4). Replace includes by "
    "addresses, or send from a subdomain with a record of its own"
)
MANY_VOID = "asks for {void} names that are not there; more than {most} are a permerror"
NO_ANSWER = "DNS gave no answer ({status}): temperror for now"
SEVERAL_SPF = "has {count} SPF records, which is a permerror (RFC 7208 section 4.5). Merge them into one: {merged}"
NEAR_SPF = "has a record that looks like SPF and that receivers do not see: {record}. It {reasons}"
ABSENT = {"missing": "does not exist", "none": "has no SPF record"}
INCLUDED = "is included and {problem}: permerror"
NO_RESULT = "{problem}, so receivers get the result none"
NO_NAME = "{term} does not name a domain"
CIRCLE = "{term} leads back to a record on the way: permerror"
MANY_MX = "{term} has more than {most} hosts: permerror"
BAD_TERM = "{term} {problem}: permerror"
PTR = "{term} is slow and unreliable, and not to be used (RFC 7208 section 5.5)"
LARGE = "{term} lets a very large part of the network send"
AFTER_ALL = "has terms after `all`: they are never reached"
ALL_REDIRECT = "has both `all` and redirect=: redirect= is ignored"
PLUS_ALL = "+all lets everyone send in this domain's name"
NEUTRAL_ALL = "?all says nothing about others: use ~all or -all"
NO_ALL = "ends without `all`: others get neutral; add ~all or -all"
MODIFIER_TWICE = "has a modifier twice: permerror (RFC 7208 section 6)"
TERM_PROBLEMS = {
    "term": "is not a term of SPF",
    "colon": "needs a colon: {name}:{value}",
    "equals": "needs an equals sign: {name}={value}",
    "qualifier": "takes no qualifier",
    "mechanism": "is not a mechanism of SPF",
    "meant": "is not a mechanism of SPF; ip{version}: is meant",
    "domain": "does not name a domain",
    "value": "takes no value",
    "prefix": "has an impossible prefix length",
    "network": "does not hold a network",
    "version": "holds an address of IPv{version}: use ip{version}:",
    "address": "names an address: use ip{version}:{value}",
    "blank": "has a blank after a colon; meant is: {name}:{value}",
    "separator": "ends in {mark!r}: terms have only blanks between them",
}

# dkim
KEY_SIZE = " of {bits} bits"
KEY_USABLE = "a key that receivers can use"
KEY_USELESS = "receivers cannot use this key"
KEY_STRICT = "t=s: only addresses of the domain itself, none of its subdomains"
SWAPPED = "The selector comes before the domain. Did you mean: waypost dkim check {selector} {domain}?"
KEY_FAULTS = {
    "answer": "DNS gave no answer ({status}): receivers try again later",
    "name": "there is no such name: no signature with this selector verifies",
    "record": "the name has no TXT record: no signature with this selector verifies",
    "several": "has {count} records; receivers may take any of them (RFC 6376 section 3.6.2.2)",
    "cut": "one key was cut into {count} records: publish it as one record of several strings",
    "microsoft": (
        "{selector} is a selector of Microsoft 365: publish the CNAME that the Defender portal shows (Email "
        "authentication settings > DKIM), then turn DKIM on there"
    ),
    "microsoft target": (
        "the alias is the one that Microsoft 365 asks for, but Microsoft has not published the key: turn DKIM on for "
        "the domain in the Defender portal"
    ),
    "google": (
        "{selector} is a selector of Google Workspace: the Admin console shows the record (Apps > Google Workspace > "
        "Gmail > Authenticate email)"
    ),
}
KEY_SHORT = "a key of {bits} bits is accepted, but {least} are recommended (RFC 8301 section 3.2)"
KEY_NO_VERSION = "the record has no v=DKIM1: allowed, but some receivers want it"
KEY_TESTING = "t=y says that signing is still being tested: remove it when it is not"
KEY_GRANULARITY = "g= is from an older standard and ignored"
KEY_SHA1 = "h= allows sha1, which no signature may use any more (RFC 8301 section 3.1)"

DMARC_HEADINGS = {"names": "Names asked, in this order", "reports": "Reports to others"}
MEND = "{said} To mend it, {publish}"

# check --dns
HALF_SIGNS = "{provider} can sign as {domain}: a key is at {name}"
HALF_UNSIGNED = (
    "{provider} does not sign as {domain} ({wrong}): bounces and invitations from there carry no proof that they are "
    "yours, and are marked"
)
GOOGLE_FIX = (
    "before the MX records move: in the Admin console, open Apps, Google Workspace, Gmail, Authenticate email, publish "
    "the record for {domain} and start authentication. If another prefix than google was chosen there: waypost dkim "
    "check PREFIX {domain}"
)
MICROSOFT_ALIAS_FIX = (
    "before the MX records move: in the Defender portal, open Email authentication settings, DKIM, {domain}, publish "
    "the two CNAME records that it shows, then switch signing on there"
)
MICROSOFT_SWITCH_FIX = (
    "before the MX records move: the CNAME is published, so switch on signing for {domain} in the Defender portal "
    "(Email authentication settings, DKIM). Until then Microsoft signs as {tenant} alone"
)
MICROSOFT_FOREIGN_FIX = (
    "the CNAME leads to {target}, which is not Microsoft's: publish the one that the Defender portal shows (Email "
    "authentication settings, DKIM)"
)
SPF_ABSENT = "there is no SPF record: mail that is not signed proves nothing"
SPF_ABSENT_FIX = 'publish one that names every host that sends as you; for a domain that sends no mail: "v=spf1 -all"'
SPF_FIX = "receivers cannot use this record; all of it: waypost spf check {domain}"
SPF_OWN = "the SPF record lists no network that a service shares among its customers"
SPF_SHARED = "the SPF record lists networks of {services}: every customer there can pass as {domain} by SPF."
SPF_GUARDED = "A rule in force asks about mail that only SPF speaks for."
SPF_SIGN_FIRST = "Have every service that sends as you sign with DKIM first."
SPF_SHARED_FIX = 'Once all your mail is signed, put the rule "shared-spf" in force (docs/policy.md, Recipes)'
SIGNER = "the named signer {domain} exists in DNS"
NO_SIGNER = "the signer {domain} does not exist in DNS, so nothing signs as it"
NO_SIGNER_FIX = "look at d= of a passing signature of that sender; `waypost senders` shows it"
UNANSWERED = "DNS gave no answer for {name}"
UNANSWERED_FIX = "ask again; if it lasts, see whether the resolvers of [dns] nameservers, or /etc/resolv.conf, answer"
