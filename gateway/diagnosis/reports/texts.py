"""Every sentence that `waypost dmarc report` prints, so that they can be read together."""

from __future__ import annotations

# Refusals: they follow "FILE is not shown: ".
TOO_LARGE = "it has {octets} octets, more than any report"
NESTED = "archives are packed in archives"
BOMB = "unpacked, it has more than {most} MB: no report is that large"
BAD_GZIP = "the gzip file is damaged: {error}"
CUT_GZIP = "the gzip file is cut off"
BAD_ZIP = "the zip file is damaged: {error}"
LOCKED_ZIP = "the zip file needs a password"
MANY_FILES = "it holds more than {most} files"
MANY_GZIP = "it is made of more than {most} gzip files"
EMPTY_ZIP = "the archive holds no report"
ARF = "it is a feedback report (ARF), not an aggregate report: `waypost bounce` reads it"
NO_REPORT = "the mail has no report attached"
TLS_REPORT = "it is JSON, as TLS reports are (RFC 8460), and not a DMARC report"
NOT_XML = "it is not XML"
OTHER_XML = "it begins with <{name}> and has no <feedback>"
CUT_XML = "it ends within <{name}>: the file is cut off"
DOCTYPE = "it has a document type (DOCTYPE), as no report needs: such a file may be built to do harm"
DEEP_XML = "it has more elements, or deeper ones, than any report has"
NO_PARTS = "it has none of the parts of a report"
MANY_RECORDS = "it has more than {most} records"
NO_FILES = "the folder has no files"

# The report.
TITLE = "DMARC report of {reporter} about {domain}"
PERIOD = "from {begin} to {end}"
POLICY = "policy: {policy}"
ORIGIN = "{schema}, id {id}, by {email}"
REPORTER_ERROR = "the reporter's error: {error}"
FLAW = "The file is not sound XML ({flaw}). It was read as far as possible; values near that place may be wrong."
FOREIGN_OCTETS = "octets outside its character set"
MORE_RECORDS = "and {count} more records: --json has all"
REFUSED = "{name} is not shown: {reason}"
TOTAL = "{reports} reports: {failed} messages failed, {passed} passed"
COUNTS = "{failed} failed, {passed} passed"
OVERRIDE = "not as the policy asks: {reason}"

# The result of one method for a source.
ALIGNED = "pass"
OTHER_DOMAIN = "passed for another domain"
SAME_DOMAIN = "passed for the From domain itself, yet the reporter counts it as a failure"
STRICT = "passed for a domain of the same organisation, but {tag}=s asks for exactly the From domain"
SAME_ORGANISATION = "passed for a domain of the same organisation, yet the reporter counts it as a failure"

# The remedies for a source.
PRIVATE = (
    "{address} is a private address: the reporter judged the message behind its own edge. Ignore this source, and do "
    "not list the address in SPF."
)
MAILING_LIST = (
    "The reporter knows the source as a mailing list or a forwarder. Nothing is wrong with your records: only a DKIM "
    "signature that the source leaves intact can pass there."
)
BROKEN_SIGNATURE = (
    "The signature of {domain} was broken on the way: by a mailing list, a forwarder or a filter that changes "
    "messages. If {address} is a server of yours, `waypost autopsy` on such a message names the change."
)
KEY_TROUBLE = "The key of {domain} could not be used: `waypost dkim check {selector} {domain}`."
GOOGLE_DEFAULT = (
    "Google Workspace signs with its own domain, not with {author}. Turn on DKIM for {author}: Google Admin console, "
    "Apps > Google Workspace > Gmail > Authenticate email."
)
MICROSOFT_DEFAULT = (
    "Microsoft 365 signs with its own domain, not with {author}. Turn on DKIM for {author} in the Defender portal "
    "(Email authentication settings > DKIM)."
)
SERVICE = (
    "The source signs as {signer}, not as {author}. If you use this service, have it sign with a key of {author}; if "
    "not, someone uses your name."
)
FORWARDER = (
    "SPF passed only for {envelope}: {address} is a forwarder or a service that sends with its own return path. If it "
    "sends for you, have it sign with a key of {author}; if it forwards, only your own DKIM signature can pass."
)
SPF_BROKEN = "The SPF record of {domain} could not be used: `waypost spf check {domain}`."
NOT_LISTED = (
    "Nothing passed for {author}. If {address} is yours, list it in the SPF record and sign with DKIM; if not, the "
    "mail was forged or forwarded, and there is nothing to mend."
)
REPORTERS_FAULT = (
    "A check passed for {author}, and yet the reporter counts a failure. That is the reporter's mistake: there is "
    "nothing to mend."
)
STRICT_ADVICE = "Set {tag}=r, or have the source use exactly {author}."
SPF_ONLY = "It passes by SPF alone, which forwarding breaks. Have this source sign with a key of {author}."
HOSTED = "{address} is an address of {provider}."
