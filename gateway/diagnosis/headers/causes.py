"""The reasons why DMARC failed or no domain vouches for a message, and the remedies: lists, forwarding, relays,
alignment, forgery."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.diagnosis.headers import texts
from gateway.diagnosis.headers.indirect import share_organisation
from gateway.diagnosis.headers.places import Relayed
from gateway.diagnosis.headers.reading import Reading
from gateway.diagnosis.headers.summary import HeaderFinding, Summary, Weight
from gateway.diagnosis.hops import organisation
from gateway.diagnosis.verdicts import StatedVerdict, Verdicts
from gateway.mail.refusal.provider import Provider, recognise_host

_OVERRIDES = frozenset({"oreject", "o.reject"})
_UNSETTLED = ("fail", "none", "permerror", "temperror", "bestguesspass", "")


def find_causes(summary: Summary, reading: Reading) -> Iterator[HeaderFinding]:
    """All explanations of the verdict, the most basic first."""
    verdicts = summary.verdicts
    if verdicts is None:
        yield from _without_results(reading)
        return
    yield from _second_check(summary, verdicts, reading)
    indirect = list(_indirect(summary, reading))
    yield from indirect
    overridden = list(_override(summary, verdicts, bool(indirect)))
    yield from overridden
    yield from _own_domain(summary, reading)
    relayed = summary.relayed is not None and summary.dmarc not in ("none", "bestguesspass")
    settled = relayed or bool(indirect) or any(one.weight is Weight.PROBLEM for one in overridden)
    if summary.dmarc != "pass" and not settled:
        yield from _direct(summary, verdicts, reading)
    elif summary.dmarc == "fail" and reading.forwarding and "dmarc=pass" not in verdicts.chain:
        yield from _never_signed(summary, verdicts, reading)
    yield from _signatures(summary, verdicts, reading)


def _without_results(reading: Reading) -> Iterator[HeaderFinding]:
    """Received-SPF alone, as some servers write it."""
    for one in reading.received_spf[:1]:
        if one.result not in ("pass", "none", ""):
            address, domain = one.client or "the client", one.domain or "the sender's domain"
            text = texts.SPF_ALONE.format(result=one.result, domain=domain, address=address)
            yield HeaderFinding("spf-fail", Weight.NOTE, text)


def _second_check(summary: Summary, verdicts: Verdicts, reading: Reading) -> Iterator[HeaderFinding]:
    """SPF judged at an address that is not the first client's (RFC 7208 appendix D)."""
    relayed, result = summary.relayed, verdicts.result("spf")
    if relayed is None or result in ("", "pass", "none"):
        return
    domain = verdicts.domain("spf") or "the sender's domain"
    address = verdicts.client or relayed.relay.address or "an address"
    text = texts.SECOND_CHECK.format(
        address=address,
        name=f" ({relayed.name})" if relayed.name != address else "",
        origin=_origin(relayed),
        domain=domain,
        result=result,
    )
    if summary.dmarc == "fail" and verdicts.result("dkim") in ("", "none"):
        text += texts.FOLLOWS
    forwarded = bool(reading.forwarding) and not relayed.recipients
    if relayed.edge is None and (forwarded or not (relayed.recipients or relayed.receivers)):
        lists = result in ("fail", "softfail", "neutral") and not forwarded
        sentence = texts.SENDER_OR_FORWARDER if lists else texts.FORWARDER_ONLY
        yield HeaderFinding("forwarded", Weight.NOTE, text + sentence.format(name=relayed.name, domain=domain))
        return
    yield HeaderFinding("second-spf-check", Weight.PROBLEM, text, tuple(_skip_remedies(relayed, str(address), domain)))


def edge_sentence(summary: Summary, reading: Reading) -> str:
    """The sentence that a server at the edge had already judged; empty when none did."""
    relayed = summary.relayed
    if relayed is None or relayed.edge is None:
        return ""
    at = next((one for one in reading.judged if one.hop == relayed.edge and one.verdicts.result("spf")), None)
    if at is None:
        return ""
    writer = at.verdicts.writer or relayed.origin.by
    return texts.EDGE_SAID.format(writer=writer, result=at.verdicts.result("spf"))


def _origin(relayed: Relayed) -> str:
    name = relayed.origin.rdns or relayed.origin.sender.strip("[]")
    address = str(relayed.origin.address or "")
    return f"{address} ({name})" if address and name and name != address else address or name or "elsewhere"


def _skip_remedies(relayed: Relayed, address: str, domain: str) -> Iterator[str]:
    receiver = recognise_host(relayed.relay.by)
    if relayed.receivers:
        yield texts.SKIP["receiver"].format(place=organisation(relayed.relay.by))
    elif receiver is Provider.MICROSOFT:
        yield texts.SKIP["microsoft"].format(address=address)
        yield texts.SKIP["until"]
    elif receiver is Provider.GOOGLE:
        yield texts.SKIP["google"].format(address=address)
    else:
        yield texts.SKIP["other"].format(place=relayed.relay.by or texts.RECEIVING_SERVER, address=address)
    yield texts.SKIP["record"].format(domain=domain)


def _indirect(summary: Summary, reading: Reading) -> Iterator[HeaderFinding]:
    """A list or a forwarder explains why DMARC does not pass."""
    if summary.dmarc == "pass" or summary.verdicts is None:
        return
    author = summary.author or "the author"
    if reading.list is not None:
        broken = any(one.broken and share_organisation(one.domain, author) for one in summary.verdicts.results)
        said = texts.LIST_BROKEN.format(author=author) if broken else ""
        text = texts.LIST.format(name=reading.list.name or "unnamed", broken=said, author=author)
        yield HeaderFinding("mailing-list", Weight.NOTE, text)
    elif reading.forwarding and summary.dmarc not in ("", "none"):
        mark = reading.forwarding[0]
        how = texts.FORWARD_MARKS[mark.kind].format(value=mark.value)
        yield HeaderFinding("forwarded", Weight.NOTE, texts.FORWARDED.format(how=how, author=author))


def _override(summary: Summary, verdicts: Verdicts, indirect: bool) -> Iterator[HeaderFinding]:
    """A published p=reject that the receiver did not honour."""
    ignored = verdicts.policy == "reject" and verdicts.action == "none"
    if summary.dmarc != "fail" or (verdicts.action not in _OVERRIDES and not ignored):
        return
    author = summary.author or "the author's domain"
    text = texts.OVERRIDDEN.format(domain=author, action=verdicts.action)
    relayed = summary.relayed
    if summary.arc_passed:
        yield HeaderFinding("policy-overridden", Weight.NOTE, text + texts.OVERRIDE_ARC)
    elif relayed and verdicts.result("spf") != "pass":
        inner = relayed.recipients or relayed.receivers or relayed.edge is not None
        text += texts.OVERRIDE_EDGE if inner else texts.OVERRIDE_RELAY
        yield HeaderFinding("policy-overridden", Weight.NOTE, text)
    elif indirect:
        yield HeaderFinding("policy-overridden", Weight.NOTE, text + texts.OVERRIDE_INDIRECT)
    else:
        if not any(one.method == "dkim" and one.word not in ("none", "") for one in verdicts.results):
            other = verdicts.domain("spf")
            passed = verdicts.result("spf") == "pass" and other
            tie = texts.SPF_FOR_OTHER if passed else texts.NOTHING_TIES
            text += tie.format(domain=other, author=author) + texts.TAKE_FOR_FORGED
        keys = ("microsoft", "rule", "gateway") if verdicts.action in _OVERRIDES else ("other",)
        yield HeaderFinding("policy-overridden", Weight.PROBLEM, text, tuple(texts.HONOUR[key] for key in keys))


def _own_domain(summary: Summary, reading: Reading) -> Iterator[HeaderFinding]:
    """Mail in the recipient's own name for which no domain vouches."""
    own = set(reading.authors) & set(reading.recipients)
    verdicts, judged = summary.verdicts, summary.judged
    if not own or verdicts is None or judged is None or summary.dmarc not in ("fail", "none", "permerror"):
        return
    if summary.relayed is not None or verdicts.result("auth") == "pass" or summary.dkim_aligned or reading.list:
        return
    domain = min(own)
    others = " and ".join(_others(verdicts))
    if others:
        text = texts.OWN_BY_OTHERS.format(domain=domain, others=others)
        fixes = [texts.OWN_FIXES["vendor"].format(others=others, domain=domain)]
        fixes += [texts.OWN_FIXES["allow"]] if verdicts.compauth else []
        yield HeaderFinding("own-domain", Weight.PROBLEM, text, tuple(fixes))
        return
    hop = reading.hop_of(judged)
    text, remedies = texts.OWN_DOMAIN.format(domain=domain), [texts.OWN_FIXES["refuse"].format(domain=domain)]
    if hop is not None and recognise_host(hop.by) is Provider.MICROSOFT and hop.address:
        text += texts.DIRECT_SEND.format(address=hop.address)
        remedies.append(texts.OWN_FIXES["direct"])
    yield HeaderFinding("own-domain", Weight.PROBLEM, text, tuple(remedies))


def _others(verdicts: Verdicts) -> list[str]:
    """Domains for which a check passed, one for each organisation, signers first."""
    passed = [one.domain for method in ("dkim", "spf") for one in verdicts.results if one.method == method]
    passed = [domain for domain in passed if domain and _passed(verdicts, domain)]
    found: dict[str, str] = {}
    for domain in passed:
        found.setdefault(organisation(domain) or domain, domain)
    return list(found.values())


def _passed(verdicts: Verdicts, domain: str) -> bool:
    return any(
        one.domain == domain and one.word == "pass" and one.method in ("dkim", "spf") for one in verdicts.results
    )


def _direct(summary: Summary, verdicts: Verdicts, reading: Reading) -> Iterator[HeaderFinding]:
    """A message that came directly, as far as the header shows, and whose author no domain vouches for."""
    author, others = summary.author or "the author's domain", _others(verdicts)
    own = bool(set(reading.authors) & set(reading.recipients))
    spf, aligned = verdicts.best("spf"), summary.spf_aligned or summary.dkim_aligned
    delivered = texts.DELIVERED_NONE if summary.dmarc == "fail" and _asks_nothing(verdicts) else ""
    if summary.dmarc == "fail" and others and not aligned and not own:
        text = texts.NOT_ALIGNED.format(domains=", ".join(others), author=author) + delivered
        yield HeaderFinding("not-aligned", Weight.PROBLEM, text, tuple(_sign_remedies(others, author)))
    elif summary.dmarc in ("none", "bestguesspass") and not own and not aligned:
        kind = "both" if spf is not None and spf.word == "none" and summary.dmarc == "none" else "dmarc"
        signer = texts.OTHER_SIGNER.format(signer=", ".join(others)) if others else ""
        text = texts.NO_RECORDS.format(author=author, what=texts.NO_RECORD_KINDS[kind], signer=signer)
        yield HeaderFinding("no-records", Weight.NOTE, text, (texts.FIXES["publish"].format(author=author),))
    elif spf is not None and spf.word in ("fail", "softfail", "neutral") and summary.dmarc in _UNSETTLED and not own:
        yield _spf_fail(summary, verdicts, reading, delivered)
    elif spf is not None and summary.dmarc == "fail" and not own and not aligned:
        yield _nothing_passed(spf, author, delivered)


def _nothing_passed(spf: StatedVerdict, author: str, delivered: str) -> HeaderFinding:
    domain = spf.domain or author
    said = texts.SPF_MISSING if spf.word == "none" else texts.SPF_UNUSABLE
    text = texts.NOTHING_PASSED.format(author=author, spf=said.format(domain=domain, result=spf.result))
    fixes = [texts.FIXES["sign"].format(author=author)]
    fixes += [texts.FIXES["check"].format(domain=domain)] if spf.word != "none" else []
    return HeaderFinding("nothing-passed", Weight.PROBLEM, text + delivered, tuple(fixes))


def _never_signed(summary: Summary, verdicts: Verdicts, reading: Reading) -> Iterator[HeaderFinding]:
    """Forwarded mail that could never pass: it is signed, but not by its author's domain."""
    signers = [one.domain for one in verdicts.results if one.method == "dkim" and one.word == "pass" and one.domain]
    named = (*signers, *(one.domain.lower() for one in reading.signatures))
    if signers and not any(share_organisation(domain, summary.author) for domain in named):
        author = summary.author or "the author's domain"
        text = texts.NOT_ALIGNED.format(domains=", ".join(dict.fromkeys(signers)), author=author)
        yield HeaderFinding("not-aligned", Weight.PROBLEM, text, tuple(_sign_remedies(signers, author)))


def _asks_nothing(verdicts: Verdicts) -> bool:
    """The policy is p=none: written so, or with Microsoft's `action=none` and no other policy beside it."""
    exchange = bool(verdicts.compauth or not verdicts.writer)
    return verdicts.policy == "none" or (not verdicts.policy and verdicts.action == "none" and exchange)


def _spf_fail(summary: Summary, verdicts: Verdicts, reading: Reading, delivered: str) -> HeaderFinding:
    spf = verdicts.best("spf")
    author = summary.author or next(iter(reading.authors), "the author's domain")
    domain = (spf.domain if spf else "") or author
    hop = reading.hop_of(summary.judged) if summary.judged else None
    received = next(iter(reading.received_spf), None)
    address = str(verdicts.client or (hop.address if hop else None) or (received.client if received else None) or "")
    if not summary.dmarc:
        author = summary.author or domain
    broken = any(one.broken and share_organisation(one.domain, author) for one in verdicts.results)
    text = (texts.SPF_FAIL_BROKEN if broken else texts.SPF_FAIL).format(
        address=address or "the client", domain=domain, author=author
    )
    name = (hop.rdns or hop.sender if hop else "") or (received.helo if received else "")
    fixes = [texts.FIXES["list it"].format(address=address or "the client", domain=domain, author=author)]
    if hop is None and address and name:
        fixes.append(texts.FIXES["relay"].format(address=address, name=f" ({name})"))
    fixes.append(texts.FIXES["forged"].format(author=author))
    return HeaderFinding("spf-fail", Weight.PROBLEM, text + delivered, tuple(fixes))


def _sign_remedies(others: list[str], author: str) -> Iterator[str]:
    if any(domain.endswith("gappssmtp.com") for domain in others):
        yield texts.FIXES["google"].format(author=author)
    elif any(domain.endswith(".onmicrosoft.com") for domain in others):
        yield texts.FIXES["microsoft"].format(author=author)
    else:
        yield texts.FIXES["sign"].format(author=author)
    yield texts.FIXES["forged"].format(author=author)


def _signatures(summary: Summary, verdicts: Verdicts, reading: Reading) -> Iterator[HeaderFinding]:
    """Signatures that do not verify: the author's, or any if none of the author's passes."""
    broken = [one for one in verdicts.results if one.broken]
    own = [one for one in broken if share_organisation(one.domain, summary.author)]
    if not broken or summary.dkim_aligned or (not own and summary.dmarc == "pass"):
        return
    one = (own or broken)[0]
    domain = one.domain or next((signed.domain for signed in reading.signatures), "the signer")
    note = one.note.removeprefix("selector ")
    reason = one.note.partition(", ")[2] if one.note.startswith("selector ") else note
    if "body hash" in one.note.lower():
        text, remedy = texts.BROKEN_BODY.format(domain=domain), texts.AUTOPSY
    elif "key" in reason.lower() and one.word != "fail":
        text = texts.KEY_TROUBLE.format(domain=domain, reason=reason)
        selector = note.partition(", ")[0] if one.note.startswith("selector ") else "SELECTOR"
        remedy = texts.DKIM_CHECK.format(selector=selector, domain=domain)
    else:
        text, remedy = texts.BROKEN_OTHER.format(domain=domain, reason=reason or one.result), texts.AUTOPSY
    text += _sealed_whole(one, reading)
    if summary.dmarc == "pass":
        yield HeaderFinding("broken-signature", Weight.NOTE, text + texts.STILL_PASSES, (remedy,))
    else:
        indirect = reading.list is not None or bool(reading.forwarding) or summary.arc_passed
        yield HeaderFinding("broken-signature", Weight.NOTE if indirect else Weight.PROBLEM, text, (remedy,))


def _sealed_whole(broken: StatedVerdict, reading: Reading) -> str:
    """A sealer on the way that saw the signature intact."""
    seals = {seal.instance: seal.domain for seal in reading.seals}
    for judged in reversed(reading.judged):
        passed = (one for one in judged.verdicts.results if one.method == "dkim" and one.word == "pass")
        if judged.verdicts.kind == "arc" and any(one.domain == broken.domain for one in passed):
            return texts.SEALED_WHOLE.format(sealer=seals.get(judged.verdicts.instance) or judged.verdicts.writer)
    return ""
