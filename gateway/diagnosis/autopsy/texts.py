"""Every sentence that `waypost autopsy` prints, so that they can be read together."""

from __future__ import annotations

FILE = "{name}: {octets} octets, SHA-256 {sha256}"
CONVERTED = "newlines: converted. Its lines end in LF; they were read as CRLF, which is how mail travels."
MIXED = "newlines: mixed. Not every line ends in CRLF; they were kept, and that alone may break the signature."
NO_SIGNATURE = "None (DKIM). Without one nothing tells what the message was before."
SIGNATURE = "{number}. {signer} (selector {selector}): {result}{why}"
FOUND = "Found. On its way something {changes}."
ANOTHER = ", and something "
SUSPECTED = "Suspected, not proven: on its way something {changes}."
UNKNOWN = "Unknown. No change that mail servers are known to make explains it, nor two of them together."
BODILESS = (
    "The file holds the header alone, and the body is missing. Save the whole message as it was received, with its "
    "source (.eml), and run the command again."
)
INTACT = "Nothing: the message is what was signed."
PARTS = {
    "body": (
        "A signature holds a fingerprint of the body. This body has another one, so receivers must take the message "
        "for altered."
    ),
    "header": "The body is as it was signed; a signed header field was changed.",
    "key": (
        "The body is what was signed. Whether the header is can only be told with the signer's key, and that could not "
        "be had or used."
    ),
    "syntax": "The signature breaks the rules for signatures, so nobody can tell by it what was signed.",
    "expired": "The message is what was signed, but the signer set a time limit, and it is over.",
}
LEFT = {
    "key": "Whether the header is intact as well is unknown: the signer's key could not be had.",
    "header": "But the signature still fails: the header was changed too, in a way that is not known.",
    "expired": "Since then the signature has expired.",
}
PLACES = ", in {count} places"
PLACE = "Line {line}, offset {offset}, {what}:"
OCTETS = "{length} octets"
MISSING = "where something is missing"
MORE_PLACES = "And {count} more places."
PROVEN_BODY = "Proven: with that undone, the body has exactly the fingerprint that {signer} signed."
PROVEN_SIGNATURE = "Proven: with that undone, the signature of {signer} verifies with its key."
HEADER_INTACT = "The header is intact: the signature then verifies with the signer's key."
TRIED = "{trials} ways to undo something were tried, none gives what was signed{bound}."
MORE_PAIRS = "; there are more pairs than are tried"
CULPRIT = "Most likely {name}:"
AFTERWARDS = (
    "Somewhere after {name}, which found it intact: what stores the mailbox, a program on it, or the export of the "
    "file."
)
HEARSAY = "These are claims of the header, not proofs."
GROUNDS = {
    # grounds for a change that cannot be undone
    "boundary": (
        "the boundary {boundary} is of the style of {program}, but neither Message-ID nor X-Mailer says that the "
        "message was written there"
    ),
    "flowed": "the text is format=flowed, yet no line of it ends in a space",
    "dashes": "the line `--` above the signature has lost the space that belongs at its end",
    "notice": "a part reads like a notice of a scanner: {text}",
    "converted": "X-MIME-Autoconverted: {text}",
    "link": "a link leads through a scanner: {text}",
    "html": "the HTML begins as Exchange writes it anew, which cannot be undone",
    "removed": "the signature covers {name}, and there is no such field",
    "numbered": "the signed Message-ID is one that Amazon SES gives: {text}",
    "munged": "From is at {author}, the signature of {signer}, and a list came between",
    "retyped": "Content-Type has its charset in quotes and nothing else, as Exchange writes it anew",
}
CLAIMS = {
    # grounds from the header about the hops
    "program": "its Received line is one of {program}, which is known to do this",
    "left": "no other hop is left",
    "pass": "the signature still verified when the message came to {server}, as its Authentication-Results says",
    "fail": "the signature no longer verified when the message came to {server}, as its Authentication-Results says",
    "sealed": "the body was as it had been signed when {sealer} sealed it (ARC)",
    "sealed broken": "the body was no longer as it had been signed when {sealer} sealed it (ARC)",
    "converter": "X-MIME-Autoconverted says so: {text}",
    "field": "there is a field {field}, as {program} adds it",
    "list": "List-Id is {text}",
}
ADVICE = {
    "leave": "Leave the sender's SPF, DKIM key and DMARC record alone: they are not the cause.",
    "stop": "Have {where} stop changing mail, or lead mail past it.",
    "afterwards": (
        "Save the message again from the mailbox, with its source (.eml), and run the command again. If that file is "
        "broken too, look for the change in the mailbox's storage and in the programs that work on it."
    ),
    "split": "If the domain is split between two providers, its MX has to hand each half its mail unaltered.",
    "until": (
        "Until then everyone behind that server sees a broken signature, and where the author's domain publishes "
        "p=reject or p=quarantine, refuses the mail or takes it for junk."
    ),
    "key": "See whether the key is published: `waypost dkim check SELECTOR DOMAIN`. Offline, give it by --dns.",
    "sender": "Tell the sender. No receiver can mend it.",
    "intact": "Nothing about DKIM. If the message was refused, its bounce tells why: `waypost bounce FILE`.",
    "unsigned": (
        "Ask the sender to sign. Without a signature DMARC rests on SPF alone, and that ends at any forwarder."
    ),
    "compare": ("Get the message as it was sent, for instance from the sender's copy, and compare: --original FILE."),
    "simple header": (
        "The signer uses c=simple for the header, which breaks when a server folds a field, spaces it or writes its "
        "name in other letters. Have the sender sign with c=relaxed/relaxed."
    ),
    "simple body": (
        "The signer uses c=simple for the body, which breaks when blanks at the ends of lines change. Have the sender "
        "sign with c=relaxed/relaxed."
    ),
}
WHERE = "the server that changed it"
NO_DIFFERENCE = "No difference."
DIFFERENCE = "Line {line}, in the original line {original}:"
MORE_LINES = "... {count} more lines"
MORE_DIFFERENCES = "And {count} more."
NOT_REPAIRED = "{file} was not written: there is nothing proven to undo."
REPAIRED = "{file}: the message as it was before the change."
REPORTED = "{file}: written without addresses, subject and text. Read it before you send it."
EMPTY_FILE = "{file} holds no message: it is empty."
SAME_FILE = "{file} is the message itself, which is never changed. Name another file."

# The changes, by the entries of the catalogue: "something ..."

CHANGES = {
    "B01": "put a blank line between the end of an inner multipart and the next boundary",
    "B02": "took away the blank line between the end of an inner multipart and the next boundary",
    "B03": "took away the empty line before the first boundary of an inner multipart",
    "B04": "put header fields of its own into the parts of the message",
    "B05": "put a <meta> element that names the character set into the HTML",
    "B06": "added the final boundary line that the sender had left out",
    "B07": "wrote the message anew, with boundaries of its own",
    "B08": "put a line break after an attached message",
    "B09": "added a footer to the text",
    "B10": "added a footer as a part of its own",
    "B11": "put a warning about outside senders above the text",
    "B12": "converted the text from 8bit to quoted-printable",
    "B13": "converted the text from quoted-printable to 8bit",
    "B14": "wrapped the lines of base64 attachments at another length",
    "B15": "wrapped the lines of quoted-printable text elsewhere",
    "B16": "cut long lines in two",
    "B17": "took away spaces at the ends of lines",
    "B18": "wrote `>From` for `From` at the start of a line",
    "B19": "doubled or lost dots at the start of lines",
    "B20": "added or removed blank lines at the very end, which breaks no signature",
    "B21": "replaced links by links through its own scanner",
    "B22": "turned two spaces into one",
    "B23": "converted the text to another character set",
    "B24": "took a part out and left a notice in its place",
    "B25": "converted the text to base64",
    "B26": "took away the blank line of an empty part",
    "B27": "wrote the HTML anew, with tags of its own",
    "H01": "put a tag in front of the subject",
    "H02": "encoded the subject or a name in another way",
    "H03": "folded header fields at other places",
    "H04": "put quotes around a name, or took them away",
    "H05": "put its own address into From",
    "H06": "replaced the Message-ID",
    "H07": "wrote the date in another way",
    "H08": "removed a header field that is signed",
    "H09": "added a header field whose absence is signed",
    "H10": "wrote the parameters of Content-Type in another way",
    "H11": "wrote names of header fields in other letters",
    "H12": "encoded a header field that was raw UTF-8",
    "H13": "folded the signature itself at other places",
    "H14": "put header fields in another order, which breaks no signature",
}

# The report for a support desk (`--report`).

REPORT_CHANGED = "A message was changed in transit after it was signed (DKIM, RFC 6376)"
REPORT_FAILS = "A message's DKIM signature fails"
REPORT_BY = "Report by waypost {version}. Local parts, subject and text are masked."
REPORT_HEADINGS = {
    "signatures": "Signatures:",
    "finding": "Finding:",
    "hashes": "Hashes:",
    "fields": "Header fields, top to bottom (others are left out):",
}
REPORT_LINES = "Lines around offset {offset}, line ends shown:"
REPORT_AFTER = "Somewhere after: {name}"
REPORT_LIKELY = "Most likely by: {name}"
REPORT_STATUS = "status: {status}; failing part: {part}; proven by: {proof}"
REPORT_NO_PART = "none"
REPORT_NO_PROOF = "nothing"
REPORT_CHANGE = "{name}: it {change} ({places})"
REPORT_PLACE = "offset {offset} length {length}"
REPORT_SUSPECTED = "suspected {id} {name}: {ground}"
REPORT_RECEIVED = "SHA-256 of the file as received: {digest}"
REPORT_UNDONE = "SHA-256 with the change undone: {digest}"
REPORT_SIGNED = "body hash that was signed (bh=, {form}): {digest}"

# Headings.

HEADINGS = {
    "signatures": "Signatures",
    "finding": "What happened",
    "proof": "How sure that is",
    "culprit": "Who did it",
    "advice": "What to do",
    "differences": "Against the original",
}
