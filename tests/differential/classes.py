"""Where verifiers differ from us, by class: each has its reason, and says who is right. A difference of no class fails.

One verdict is compared: whether a signature passes, by its selector, and what ARC comes to. A class applies by what we
say (`ours`) where the other lets a signature pass, by its words (`theirs`) where we do, and by what is odd in the
message, the signature or its key (`odd`). Whatever is given must be there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.model.result import DkimResult

WE, THEY, EITHER = "we", "they", "either"
MAILAUTH, DKIMPY, MAIL_DKIM, OPENDKIM, RSPAMD = "mailauth", "dkimpy", "Mail::DKIM", "opendkim", "rspamd"
ALL = (MAILAUTH, DKIMPY, MAIL_DKIM, OPENDKIM, RSPAMD)


@dataclass(frozen=True)
class Class:
    name: str
    peers: tuple[str, ...]
    right: str
    why: str
    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()

    def holds(self, difference: Difference) -> bool:
        one = difference
        found = self.ours if one.passes_there else self.theirs
        said = one.ours if one.passes_there else one.theirs
        wanted = bool(self.ours or self.theirs)
        return (
            one.peer in self.peers
            and (not wanted or any(said.startswith(start) for start in found))
            and (not self.odd or any(odd.startswith(start) for odd in one.odd for start in self.odd))
        )


@dataclass(frozen=True)
class Difference:
    case: str
    peer: str
    selector: str
    passes_there: bool
    ours: str
    theirs: str
    odd: Sequence[str] = field(default=())


CLASSES = (
    # Signatures that we refuse.
    Class(
        "rsa-sha1",
        ALL,
        WE,
        "RFC 8301 section 3.1: it must not be verified",
        ours=("rsa-sha1 is not accepted",),
    ),
    Class(
        "l= leaves octets open",
        ALL,
        WE,
        "RFC 6376 section 8.2: anyone can write what l= leaves open",
        ours=("l= leaves",),
    ),
    Class(
        "l= beyond the body",
        (MAILAUTH, DKIMPY, MAIL_DKIM, RSPAMD),
        WE,
        "RFC 6376 section 3.5: l= must not be more than the body has",
        ours=("l= reaches beyond",),
    ),
    Class(
        "From is not signed",
        (MAILAUTH, DKIMPY, MAIL_DKIM),
        WE,
        "RFC 6376 section 5.4.1: From must be signed",
        ours=("From is not signed",),
    ),
    Class(
        "a second From",
        (MAILAUTH, MAIL_DKIM, OPENDKIM),
        WE,
        "RFC 6376 section 8.15: a second From that no signature covers",
        ours=("a From field is not signed",),
    ),
    Class(
        "i= is not in d=",
        (MAILAUTH, RSPAMD),
        WE,
        "RFC 6376 section 3.5: i= must be d= or below it",
        ours=("i= is not in d=",),
    ),
    Class(
        "v= is not 1",
        (MAILAUTH, MAIL_DKIM),
        WE,
        "RFC 6376 section 3.5: v=1 must be there",
        ours=("signature version", "signature has no v="),
    ),
    Class(
        "q= without dns/txt",
        (MAILAUTH, RSPAMD),
        WE,
        "RFC 6376 section 3.5: no query method that is known",
        ours=("q= has no",),
    ),
    Class(
        "t= or x= is no number",
        (MAILAUTH, MAIL_DKIM),
        WE,
        "RFC 6376 sections 3.5 and 6.1.1: a malformed value is a syntax error",
        ours=("t= is not a number", "x= is not a number"),
    ),
    Class(
        "tag list is malformed",
        ALL,
        WE,
        (
            "RFC 6376 sections 3.2 and 6.1.1: a tag list with a hyphen in a name, a name twice or a "
            "control character is a syntax error"
        ),
        ours=("signature syntax error", "absent", "bh= is not", "b= is not"),
    ),
    Class(
        "case of c=",
        (MAILAUTH, MAIL_DKIM, OPENDKIM),
        WE,
        (
            "RFC 6376 section 3.2: values are case-sensitive; the ABNF of section 3.5 would allow it, "
            "so either can be held"
        ),
        ours=("canonicalisation is unknown",),
    ),
    Class(
        "key hash",
        (MAILAUTH, DKIMPY, RSPAMD),
        WE,
        "RFC 6376 section 3.6.1: h= of the key leaves sha256 out",
        ours=("key does not allow sha256",),
    ),
    Class(
        "key service",
        (MAILAUTH, RSPAMD),
        WE,
        "RFC 6376 section 3.6.1: s= of the key is for another service",
        ours=("key is not for mail",),
    ),
    Class(
        "key for d= itself",
        (MAILAUTH, DKIMPY, RSPAMD),
        WE,
        "RFC 6376 section 3.6.1: t=s of the key, i= below d=",
        ours=("key is for d= itself",),
    ),
    Class(
        "case of k=",
        (MAILAUTH, OPENDKIM, RSPAMD),
        WE,
        "RFC 6376 section 3.2: values are case-sensitive",
        ours=("key type is unknown",),
    ),
    Class(
        "key record is malformed",
        ALL,
        WE,
        "RFC 6376 sections 3.2 and 3.6.1: a tag list with an error is none",
        ours=("key record syntax error", "key record has no p="),
    ),
    Class(
        "key without k=",
        (MAILAUTH, OPENDKIM),
        WE,
        "RFC 6376 section 3.6.1: without k= a key is RSA",
        ours=("key cannot be read",),
    ),
    Class(
        "folded name",
        (MAILAUTH, MAIL_DKIM),
        WE,
        "RFC 5322 section 2.2: a name and its colon stand on one line",
        ours=("signature did not verify",),
        odd=("folded_name",),
    ),
    # Signatures that we accept.
    Class(
        "no Ed25519",
        (DKIMPY, MAIL_DKIM),
        WE,
        "RFC 8463: this build has no Ed25519",
        theirs=("NaClNotFoundError", "invalid (unsupported algorithm ed25519"),
    ),
    Class(
        "blank before a colon",
        (DKIMPY, OPENDKIM, RSPAMD),
        WE,
        "RFC 5322 section 4.5 allows it, RFC 6376 section 3.4.2 drops it",
        theirs=("MessageFormatError", "fail", "absent", "permerror", "ARC fail"),
        odd=("blank_before_colon",),
    ),
    Class(
        "a line that is no field",
        (DKIMPY, OPENDKIM),
        WE,
        "RFC 6376 leaves it open: it gives up, or the MTA before it ends the header there; we go on",
        theirs=("MessageFormatError", "fail", "absent", "permerror"),
        odd=("no field", "folded_name", "control", "8-bit name"),
    ),
    Class(
        "t= in the future",
        (DKIMPY, OPENDKIM, RSPAMD),
        EITHER,
        "RFC 6376 section 3.5: a verifier may refuse it",
        theirs=("ValidationError: t=", "permerror", "absent"),
        odd=("t=3000000000",),
    ),
    Class(
        "q= with more methods",
        (DKIMPY,),
        WE,
        "RFC 6376 section 3.5: q= is a list, and dns/txt is in it",
        theirs=("ValidationError: q=",),
    ),
    Class(
        "g= of a key",
        (MAIL_DKIM,),
        WE,
        "RFC 6376 section 3.6.1 has no g= any more: an unknown tag is ignored",
        theirs=("invalid (public key: granularity",),
    ),
    Class(
        "list in s= of a key",
        (DKIMPY,),
        WE,
        "RFC 6376 section 3.6.1: s= is a list, and email is in it",
        theirs=("UnknownKeyTypeError",),
        odd=("services_record",),
    ),
    Class(
        "blanks in h= of a key",
        (MAIL_DKIM,),
        WE,
        "RFC 6376 section 3.6.1 allows white space around the colon",
        theirs=("invalid (public key: does not support hash",),
    ),
    Class(
        "RSAPublicKey",
        (MAILAUTH, MAIL_DKIM, OPENDKIM, RSPAMD),
        WE,
        "RFC 6376 section 3.6.1 names the bare form",
        theirs=("unknown key type", "invalid (public key: OpenSSL", "permerror"),
        odd=("raw_rsa_key",),
    ),
    Class(
        "several records",
        ALL,
        WE,
        "RFC 6376 section 6.1.2: each key record may be tried, and other records are none",
        theirs=(
            "invalid public key",
            "fail",
            "temperror",
            "permerror",
            "absent",
            "invalid",
            "KeyFormatError",
            "unknown key type",
            "bad signature",
        ),
        odd=("two_records", "record_of_another_kind"),
    ),
    Class(
        "repeated field",
        (RSPAMD,),
        WE,
        "RFC 6376 section 5.4.2: several fields of one name are taken from the bottom up",
        theirs=("fail",),
        odd=("repeated field",),
    ),
    Class(
        "blank body",
        (RSPAMD,),
        WE,
        "RFC 6376 section 3.4.4: a body of white space alone is empty when relaxed",
        theirs=("fail",),
        odd=("blank body",),
    ),
    Class(
        "a name left empty in h=",
        (RSPAMD,),
        THEY,
        "RFC 6376 section 3.5 has no empty name: strictly, they are right; it selects nothing",
        theirs=("fail",),
        odd=("h=from::to", "h=from:to:"),
    ),
    Class(
        "d= ends in a dot",
        (DKIMPY, MAIL_DKIM, OPENDKIM),
        EITHER,
        "RFC 6376 section 3.5 has no dot there; the name asked for is the same",
        theirs=("fail", "ValidationError: i= domain", "invalid (bad identity)", "permerror"),
        odd=("d=DOMAIN.",),
    ),
    Class(
        "a long x=",
        (MAILAUTH,),
        WE,
        "RFC 6376 section 3.5: x= may be a large number; it fails on such a date, for the whole message",
        theirs=("error",),
    ),
    Class(
        "beside a malformed signature",
        (OPENDKIM,),
        WE,
        "RFC 6376 section 6.1: each signature stands for itself; it judges none of the message",
        theirs=("absent",),
        odd=("beside a malformed signature",),
    ),
    Class(
        "quoted-printable i=",
        (OPENDKIM,),
        WE,
        "RFC 6376 section 2.11: =40 in i= is an at sign of the local part",
        theirs=("permerror",),
        odd=("i=a=40b@",),
    ),
    # ARC.
    Class(
        "a second From over ARC",
        (MAILAUTH, MAIL_DKIM),
        WE,
        "RFC 6376 section 8.15, by RFC 8617 section 4.1.2",
        ours=("ARC fail",),
        odd=("add_field",),
    ),
    Class(
        "folded name over ARC",
        (MAILAUTH, MAIL_DKIM),
        WE,
        "RFC 5322 section 2.2: a name and its colon stand on one line",
        ours=("ARC fail",),
        odd=("folded_name",),
    ),
    Class(
        "no message for dkimpy",
        (DKIMPY,),
        WE,
        "as for DKIM: it gives up on blanks before a colon and lines that are no field",
        theirs=("ARC MessageFormatError",),
    ),
    Class(
        "broken base64 in a set",
        (DKIMPY,),
        WE,
        "RFC 8617 section 5.2: the chain has failed; it raises instead of saying so",
        theirs=("ARC Error: Incorrect padding",),
    ),
    Class(
        "a folded i=",
        (DKIMPY,),
        WE,
        "RFC 6376 section 3.2: white space may fold before a tag; it fails on it",
        theirs=("ARC IndexError",),
        odd=("refold",),
    ),
    Class(
        "an incomplete set",
        (RSPAMD,),
        WE,
        "RFC 8617 section 5.2: a set that lacks a field is a failed chain, and no missing one",
        theirs=("ARC none",),
    ),
    Class(
        "repeated field over ARC",
        (RSPAMD,),
        WE,
        "RFC 6376 section 5.4.2: several fields of one name are taken from the bottom up",
        theirs=("ARC fail",),
        odd=("repeated field",),
    ),
    Class(
        "blank body over ARC",
        (RSPAMD,),
        WE,
        "RFC 6376 section 3.4.4: a body of white space alone is empty when relaxed",
        theirs=("ARC fail",),
        odd=("blank body",),
    ),
    # In either direction.
    Class(
        "last line without CRLF",
        (MAILAUTH, MAIL_DKIM, OPENDKIM, RSPAMD),
        WE,
        ("RFC 6376 section 3.4.3: the CRLF that lacks is added; they hash the line without, or leave it out"),
        odd=("unfinished",),
    ),
    Class(
        "bare CR or LF",
        ALL,
        EITHER,
        (
            "RFC 6376 section 5.3: such a message is no message; they read the LF as a line end; we "
            "refuse it at the door"
        ),
        odd=("bare newline",),
    ),
    Class(
        "NUL",
        (MAILAUTH, MAIL_DKIM, RSPAMD),
        EITHER,
        "RFC 5322 section 4 has it as obsolete: programs in C and regular expressions end or skip at it",
        odd=("nul", "control"),
    ),
)


MALFORMED = ("absent", "signature ", "t= is", "x= is", "d= is", "l= is not", "b= is", "bh= is", "s= is", "i= is not an")
"""How our reason begins where a signature itself cannot be read."""
BROKEN_TAGS = {"x=never", "t=soon", "t=-1", "d=None"}
"""Oddities that make it so, whatever we found first."""


def find_differences(
    case: Mapping[str, Any], peer: str, ours: Sequence[DkimResult], chain: str, answer: Mapping[str, Any]
) -> Iterator[Difference]:
    """Signature by signature, then the chain, if the other one judges chains."""
    mine = {_fold(one.selector): "pass" if one.result == "pass" else one.reason for one in ours}
    error = f"error: {answer['error']}" if "error" in answer else ""
    theirs = {_fold(one["selector"]): _word(one) for one in answer.get("dkim", [])} or dict.fromkeys(
        mine, error or "absent"
    )
    malformed = [selector for selector, word in mine.items() if word.startswith(MALFORMED)]
    malformed += [selector for selector, odd in case["signatures"].items() if BROKEN_TAGS & set(odd)]
    for selector in sorted(mine.keys() | theirs.keys()):
        one, other = mine.get(selector, "absent"), theirs.get(selector, "absent")
        if (one == "pass") != (other == "pass"):
            beside = ["beside a malformed signature"] if {*malformed} - {selector} else []
            odd = (*case["oddities"], *case["signatures"].get(selector, ()), *beside)
            yield Difference(case["id"], peer, selector, other == "pass", one, other, odd)
    word = error or answer.get("arc")
    word = "fail" if word == "invalid" else word
    if word is not None and word != chain:
        odd = [one for selector, found in case["signatures"].items() if selector.startswith("a") for one in found]
        said = error or f"ARC {word}: {answer.get('arc_reason', '')}"
        yield Difference(case["id"], peer, "ARC", word == "pass", f"ARC {chain}", said, (*case["oddities"], *odd))


def _fold(selector: str) -> str:
    return selector.strip().lower()


def _word(signature: Mapping[str, str]) -> str:
    return "pass" if signature["result"] == "pass" else signature["reason"] or signature["result"]


def classify(differences: Iterable[Difference]) -> tuple[Counter[str], list[Difference]]:
    """How many there are of each class, and those of no class."""
    tally: Counter[str] = Counter()
    unknown = []
    for one in differences:
        found = next((each.name for each in CLASSES if each.holds(one)), None)
        if found is None:
            unknown.append(one)
        else:
            tally[found] += 1
    return tally, unknown
