"""ARC sealers whose word counts (RFC 8617 section 7.2), because the admin listed them. ARC is moving to Historic: with
this file go two facts, one rule and a setting.

In: the header and the chain's result. Out: the chain as an aggregate report shows it, or nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.mail.author import Author
from gateway.mail.authres import ParsedResults, parse
from gateway.mail.domain import a_label
from gateway.mail.header import Field, fields, unfold
from gateway.mail.tags import parse_tags
from gateway.model.address import ip_text
from gateway.model.result import ArcResult, ArcVerdict, DmarcVerdict

_MOST_CHARACTERS = 1000
_MOST_OCTETS = 8192
"""Of an ARC field that is read: sealed or not, it comes from outside."""


def find_trusted(header: Sequence[Field], arc: ArcResult, author: Author, trusted: Collection[str]) -> str:
    """The chain in the words of RFC 8617 section 7.2.2 if it may be trusted for this author; empty if not.

    It may when the chain passes, the newest seal's d= is among `trusted` (A-labels), and that sealer says in its own
    set that DMARC passed with it for the one domain in From. The newest message signature must cover From: else the
    results could be those of another author of the same domain.
    """
    if arc.result is not ArcVerdict.PASS or not arc.sealers or arc.sealers[-1] not in trusted:
        return ""
    if author.fields != 1 or len(author.domains) != 1 or author.reason:
        return ""
    newest = len(arc.sealers)
    if "from" not in _signed_names(header, newest):
        return ""
    said = _read_results(header, newest)
    if said is None or not _passed_dmarc(said, author.domains[0]):
        return ""
    return _describe(header, arc.sealers)


def _passed_dmarc(said: ParsedResults, domain: str) -> bool:
    """Every DMARC result is a pass, and for this domain: a second one for it must not hide among the first."""
    found = [one for one in said.results if one.method == "dmarc"]
    return bool(found) and all(
        one.result == DmarcVerdict.PASS and a_label(one.value("header", "from")) == domain for one in found
    )


def _describe(header: Sequence[Field], sealers: Sequence[str]) -> str:
    """`arc=pass as[2].d=... as[2].s=... as[1].d=... as[1].s=... remote-ip[1]=...`, newest first."""
    selectors = {_number(tags): tags.get("s", "") for tags in _read_tags(header, "arc-seal")}
    words = ["arc=pass"]
    for instance in range(len(sealers), 0, -1):
        selector = a_label(selectors.get(instance, "")) or ""
        words += [f"as[{instance}].d={sealers[instance - 1]}", f"as[{instance}].s={selector}"]
    first = _read_results(header, 1)
    for result in first.results if first else ():
        address = result.value("smtp", "remote-ip")
        if result.method == "arc" and address:
            words += _say_client(address)
            break
    return " ".join(words)[:_MOST_CHARACTERS]


def _signed_names(header: Sequence[Field], instance: int) -> list[str]:
    """h= of a set's message signature."""
    for tags in _read_tags(header, "arc-message-signature"):
        if _number(tags) == instance:
            return [name.strip().lower() for name in tags.get("h", "").split(":")]
    return []


def _read_tags(header: Sequence[Field], name: str) -> list[dict[str, str]]:
    found = (parse_tags(unfold(field.value)) for field in fields(header, name) if len(field.value) <= _MOST_OCTETS)
    return [tags for tags in found if tags]


def _number(tags: dict[str, str]) -> int:
    text = tags.get("i", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 2 else 0


def _read_results(header: Sequence[Field], instance: int) -> ParsedResults | None:
    """What a set's sealer says that it found. The chain has passed, so i= stands first and each is there once."""
    for field in fields(header, "arc-authentication-results"):
        number, semicolon, rest = unfold(field.value[:_MOST_OCTETS]).partition(";")
        name, _, text = number.partition("=")
        if semicolon and name.strip() == "i" and _number({"i": text.strip()}) == instance:
            return parse(rest)
    return None


def _say_client(text: str) -> list[str]:
    try:
        return [f"remote-ip[1]={ip_text(text)}"]
    except ValueError:
        return []
