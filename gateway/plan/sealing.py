"""The copies of a message that get an ARC set of ours, and that set: one for all of them (RFC 8617)."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.authentication.body import MAX_SETS
from gateway.authentication.signing import DIGEST, Sealer, seal
from gateway.mail import authres
from gateway.mail.header import Field
from gateway.model.ingress import Ingress
from gateway.model.message import Evidence, Route
from gateway.model.result import ArcResult, ArcVerdict, Authentication
from gateway.model.value import Value

NAME = "ARC-Seal"
"""Stands for the whole set when the trace records its omission."""
FIELDS = (NAME, "ARC-Message-Signature", "ARC-Authentication-Results")


class Sealing(Value):
    """The sealer, and the backends that it seals for."""

    sealer: Sealer
    backends: frozenset[str]
    """Names of the backends that want a seal; never empty."""


def find_sealed(sealing: Sealing | None, routes: Sequence[Route]) -> tuple[str, ...]:
    """The backends among the routes that get a sealed copy, each once."""
    wanted = sealing.backends if sealing else ()
    return tuple(dict.fromkeys(route.backend for route in routes if route.backend in wanted))


def find_obstacle(chain: ArcResult, evidence: Evidence) -> str:
    """The reason why no set may be added to this message; empty when one may.

    A seal states that everything below it was verified. So a chain that failed, or whose keys DNS did not provide now,
    stays unchanged. RFC 8617 section 5.1.2 would allow a seal with cv=fail, but the next hop finds out the same by
    itself.
    """
    if chain.result is ArcVerdict.FAIL:
        return f"the chain that came in cannot be vouched for: {chain.reason}"
    if len(chain.sealers) >= MAX_SETS:
        return f"the chain has {MAX_SETS} sets already"  # RFC 8617 section 4.2.1
    if not any((digest.canonicalisation, digest.length) == DIGEST for digest in evidence.digests):
        return "no backend wanted a seal when the message came in"
    return ""


def compose_set(
    sealer: Sealer,
    authserv_id: str,
    evidence: Evidence,
    header: Sequence[Field],
    authentication: Authentication,
    ingress: Ingress,
    now: float,
) -> tuple[bytes, ...]:
    """The fields of the set, topmost first. `header` holds the message's own fields that the backend will see."""
    instance = len(authentication.arc.sealers) + 1
    results = authres.compose_sealed(instance, authserv_id, authentication, ingress)
    return seal(evidence, header, results, instance, authentication.arc.result, sealer, now)
