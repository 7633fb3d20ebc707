"""Every sentence of `waypost bounce` itself. The meaning of each cause, and the remedy, are with the causes in
`gateway/mail/refusal/advice.toml`: notifications and `waypost explain` use the same."""

from __future__ import annotations

# bounces

TITLE = "Bounce"
TITLE_BY = "Bounce by {reporter}"
TITLE_LOG = "From a log"
TITLE_LOG_OF = "From a log of {reporter}"
TITLE_REPLY = "A server's reply"
NO_RECIPIENT = "It names no recipient."
UNNAMED = "(recipient not named)"
THE_MESSAGE = "The message"
NOTHING_REFUSED = "Nothing was refused."
REFUSED = "{refuser} refused what {refused} handed on."
REFUSED_FROM_US = "{refuser} refused the message."
DEFERRED = "{refuser} did not take what {refused} handed on, for now."
DEFERRED_FROM_US = "{refuser} did not take the message, for now."
NEXT_SERVER = "The next server"
SOME_RELAY = "a server between"
ANOTHER_OF_THEM = "another server of {relay}"
OWN_REFUSAL = "{reporter} refused the message itself."
QUOTED = "{reporter} quotes this reply and does not say whose it is."
QUOTED_ALONE = "The reply does not say which server gave it."
OWN_REASON = "{reporter} gave this reason itself: no reply of another server is quoted."
OWN_REASON_UNNAMED = "The server that wrote this gave the reason itself: no reply of another server is quoted."
CAUSE = "{summary} ({cause})"
REPLY = "The reply: {reply}"
WORDS = "Its words: {words}"
AROUND = "Around it: {reply}"
ADMIN = "Administrator: {advice}"
SENDER = "Sender: {advice}"
NEVER = "Not this: {advice}"
STILL_TRIED = "Nothing yet: the message is tried again by itself."
EXPIRED = "It was tried again and again until the time limit of the queue was over, and it is not tried any more."
ONLY_FAILED = "By the reply, it is {failed} that failed; {passed} passed."
ALL_FAILED = "By the reply, {failed} failed."
AND = " and "
NEWLINES = "newlines: converted"

# a folder

COLUMNS = ("file", "recipient", "action", "cause", "refused by", "reply")
NEITHER = "{file} is neither a bounce nor a feedback report. For its header: waypost headers {file}"
NO_FILES = "{folder} holds no files"
NOT_READ = "cannot be read: {reason}"
IS_NEITHER = "neither a bounce nor a feedback report"
EMPTY_REPLY = "The reply is empty: give its text behind --reply"
ONE_OF_TWO = "Give a FILE, or --reply with the text of a reply: one of the two"

# feedback reports

FEEDBACK = "Feedback report"
FEEDBACK_BY = "Feedback report by {reporter}"
SAYS = "What it says"
COMPLAINT = "A complaint ({type}): someone marked the message as unwanted."
COMPLAINT_TYPE = "of no type"
COMPLAINT_REMEDY = "Take the recipient off the list that the message was sent to, or look for a stolen account."
AUTH_FAILED = "A receiver reports that {failed} for {domain}."
YOUR_DOMAIN = "your domain"
FAILURES = {
    "spf": "the SPF check failed",
    "dkim": "the DKIM signature did not verify",
    "signature": "the DKIM signature did not verify",
    "bodyhash": "the body does not hash to what the DKIM signature says",
    "revoked": "the DKIM key is revoked",
    "dmarc": "DMARC failed",
    "adsp": "ADSP, an old policy, was not kept",
}
FAILURE = "authentication failed"
CHANGED = "`waypost autopsy` on a full copy of the message names the change on the way."
REVOKED = "Sign with a key that is published: `waypost dkim check SELECTOR DOMAIN`."
OWN_OR_FORGED = (
    "If {source} sends for you, list it in SPF and sign its mail with DKIM. If not, it is a forger, or a forwarder, "
    "for which only DKIM can help."
)
NOT_ALIGNED = (
    "{passed} passed, but for {other} and not for {domain}: the service behind {source} sends in its own name. Have it "
    "sign with DKIM as {domain}, or use a return path below {domain}."
)
NOT_ALIGNED_SPF = (
    "An entry for {source} in the SPF record of {domain} does not help: SPF is asked of {other}, the domain of the "
    "return path."
)
SECOND_CHECK = (
    "This report stems from an SPF check behind the recipient's own edge. The message came in at {edge}, from "
    "{origin}; SPF was then judged again against {source}, an address of the recipient's side, where it fails for "
    "every sender."
)
SECOND_CHECK_REMEDIES = (
    "Nothing is wrong with your SPF record: do not change it, and do not add {source} to it.",
    "Tell the postmaster of {edge} that SPF belongs where mail enters, at another address than the one that failed. A "
    "second, identical report is of the same check.",
)
