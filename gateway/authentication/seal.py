"""An ARC set for one more hop, composed (RFC 8617 section 5.1). ARC is moving to Historic: with this file goes
`plan/sealing.py`, and nothing else notices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.authentication.arc import chain_fields
from gateway.authentication.composition import body_hash, compose_signature, stand_in
from gateway.mail.header import Field
from gateway.model.message import Evidence
from gateway.model.result import ArcVerdict
from gateway.model.value import Value

_SIGNED = (
    # RFC 6376 section 5.4.1, and the signatures that are there (RFC 8617 section 4.1.2). Authentication-Results and
    # ARC fields must not be signed, and what hops write (Received, Return-Path) should not.
    *("from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references"),
    *("mime-version", "content-type", "content-transfer-encoding", "list-id", "list-unsubscribe"),
    *("list-unsubscribe-post", "dkim-signature"),
)
_MOST_OF_A_NAME = 16
"""Fields of one name that are signed, so that no message makes h= longer than verifiers read."""


class Sealer(Value):
    """In whose name we seal, and the operation that takes the private key."""

    domain: str
    selector: str
    sign: Callable[[bytes], bytes]
    """From a SHA-256 digest to its RSA signature (PKCS #1 v1.5), which is the same whenever it is made."""


def seal(
    evidence: Evidence,
    header: Sequence[Field],
    results: bytes,
    instance: int,
    chain: ArcVerdict,
    sealer: Sealer,
    now: float,
    names: Sequence[str] | None = None,
) -> tuple[bytes, bytes, bytes]:
    """ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results, CRLF included, in the order they stand in.

    `header` are the fields of `evidence.header` that the next hop will see, at their places; `results` is the whole
    ARC-Authentication-Results field, which says `instance`; `chain` is what validation found and becomes cv=; `now` is
    in epoch seconds. `names` is h= in lower case: what is there and worth signing when None. A chain that failed is
    not covered (RFC 8617 section 5.1.2). Raises CannotSign.
    """
    block = evidence.header if evidence.header.endswith(b"\r\n") or not evidence.header else evidence.header + b"\r\n"
    common = {"a": "rsa-sha256", "d": sealer.domain, "i": str(instance), "s": sealer.selector, "t": str(int(now))}
    signed_names = _choose_names(header) if names is None else names
    tags = {**common, "bh": body_hash(evidence), "c": "relaxed/relaxed", "h": ":".join(signed_names)}
    own = block + results
    message = compose_signature(
        "ARC-Message-Signature", tags, own, lambda signed, at: signed.select(signed_names, at), header, sealer.sign
    )
    covered = [] if chain is ArcVerdict.FAIL else [*chain_fields(header)]
    covered += [stand_in(block, results), stand_in(own, message)]
    top = compose_signature(
        "ARC-Seal", {**common, "cv": str(chain)}, own + message, lambda signed, at: covered, (), sealer.sign
    )
    return top, message, results


def _choose_names(header: Iterable[Field]) -> tuple[str, ...]:
    """Each name as often as the message has it; From once more, so that no further one can be put above."""
    counts = dict.fromkeys(_SIGNED, 0)
    for field in header:
        if field.lower in counts:
            counts[field.lower] += 1
    counts["from"] += 1
    return tuple(name for name, count in counts.items() for _ in range(min(count, _MOST_OF_A_NAME)))
