"""One verdict over all results of the last server, with alignment (RFC 9989 section 5.1), and the form of a finding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from gateway.diagnosis.headers import texts
from gateway.diagnosis.headers.indirect import share_organisation
from gateway.diagnosis.headers.places import Relayed, find_relay
from gateway.diagnosis.headers.reading import Reading, StatedResults
from gateway.diagnosis.verdicts import StatedVerdict, Verdicts
from gateway.model.value import Value, replace


class Weight(StrEnum):
    """The importance of a finding."""

    PROBLEM = "problem"
    NOTE = "note"
    GOOD = "good"


class HeaderFinding(Value):
    """One finding about the header."""

    kind: str
    """A word for programs."""
    weight: Weight
    text: str
    remedies: tuple[str, ...] = ()


class Summary(Value):
    """The summary of one server's results."""

    author: str
    """The domain in From; empty when there is none."""
    dmarc: str
    """The word for DMARC; empty when the server wrote none."""
    judged: StatedResults | None
    """All fields of that server as one; None when no server wrote any."""
    spf_aligned: bool
    dkim_aligned: bool
    relayed: Relayed | None
    """The relay whose address was judged in place of the author's."""
    text: str
    """The first line."""

    @property
    def verdicts(self) -> Verdicts | None:
        return self.judged.verdicts if self.judged else None

    @property
    def arc_passed(self) -> bool:
        """The server verified an ARC chain that reports a DMARC pass."""
        verdicts = self.verdicts
        return verdicts is not None and verdicts.result("arc") == "pass"


def summarise(reading: Reading) -> Summary:
    """The summary of the newest server with a DMARC result; if none has one, of the newest."""
    groups = _group([one for one in reading.judged if not one.verdicts.kind])
    chosen = next((one for one in reversed(groups) if one.verdicts.result("dmarc")), groups[-1] if groups else None)
    if chosen is None:
        return Summary("", "", None, False, False, None, texts.VERDICTS["unknown"])
    verdicts = chosen.verdicts
    author = verdicts.domain("dmarc") or next(iter(reading.authors), "")
    spf = verdicts.best("spf")
    aligned = [one for one in verdicts.results if one.method == "dkim" and one.word == "pass" and _of(one, author)]
    return Summary(
        author=author,
        dmarc=verdicts.result("dmarc"),
        judged=chosen,
        spf_aligned=bool(spf and spf.word == "pass" and _of(spf, author)),
        dkim_aligned=bool(aligned),
        relayed=find_relay(reading, chosen.hop, verdicts.domain("spf")),
        text=_tell(verdicts, author, reading),
    )


def _group(judged: Sequence[StatedResults]) -> list[StatedResults]:
    """Neighbouring fields of one server as one field, because a server may write several."""
    groups: list[StatedResults] = []
    for one in judged:
        last = groups[-1] if groups else None
        same = last is not None and last.verdicts.writer == one.verdicts.writer
        if last and same and (last.hop == one.hop or one.verdicts.client is None):
            groups[-1] = StatedResults(_join(last.verdicts, one.verdicts), last.hop)
        else:
            groups.append(one)
    return groups


def _join(older: Verdicts, newer: Verdicts) -> Verdicts:
    """The results of both; for the same subject, those of the newer."""
    kept = {name: getattr(newer, name) or getattr(older, name) for name in _JOINED}
    return replace(newer, results=(*newer.results, *older.results), **kept)


_JOINED = ("client", "action", "policy", "compauth", "reason", "chain")


def _of(verdict: StatedVerdict, author: str) -> bool:
    return share_organisation(verdict.domain, author)


def _tell(verdicts: Verdicts, author: str, reading: Reading) -> str:
    word = verdicts.result("dmarc")
    known = word if word in texts.VERDICTS else "other"
    how = "; ".join(_tell_how(verdicts, author, reading)) or texts.HOW["silent"]
    return texts.VERDICTS[known].format(author=author or "the author's domain", how=how, word=word)


def _tell_how(verdicts: Verdicts, author: str, reading: Reading) -> Iterator[str]:
    spf = verdicts.best("spf")
    if spf is not None and spf.word == "pass":
        yield _passed("SPF", spf, author)
    elif spf is not None and spf.word == "none":
        yield texts.HOW["no spf"].format(domain=spf.domain or "the sender's domain")
    elif spf is not None:
        yield texts.HOW["spf"].format(result=spf.result, domain=spf.domain or "the sender's domain")
    signatures = [one for one in verdicts.results if one.method == "dkim"]
    seen: set[str] = set()
    for one in signatures:
        domain = one.domain or next((signed.domain for signed in reading.signatures), "the signer")
        if one.word == "pass" and domain not in seen:
            yield _passed("DKIM", replace(one, domain=domain), author)
            seen.add(domain)
        elif one.broken:
            yield texts.HOW["broken"].format(domain=domain)
    if not any(one.word not in ("none", "") for one in signatures) and not reading.signatures:
        yield texts.HOW["unsigned"]


def _passed(method: str, one: StatedVerdict, author: str) -> str:
    key = "aligned" if _of(one, author) else "unaligned"
    return texts.HOW[key].format(method=method, domain=one.domain or texts.UNNAMED_DOMAIN)
