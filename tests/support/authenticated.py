"""Results of checks, for tests of the decisions made from them."""

from __future__ import annotations

from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DkimResult,
    DkimVerdict,
    DmarcResult,
    DmarcVerdict,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)

NOTHING = SpfResult(SpfVerdict.NONE, "", SpfIdentity.MAILFROM)


def signature(domain: str, result: DkimVerdict = DkimVerdict.PASS) -> DkimResult:
    return DkimResult(result, domain, "s", "rsa-sha256")


def authenticated(
    dkim: tuple[DkimResult, ...] = (), arc: ArcResult | None = None, dmarc: DmarcResult | None = None
) -> Authentication:
    """All results empty except the given ones."""
    arc = arc or ArcResult(ArcVerdict.NONE)
    dmarc = dmarc or DmarcResult(DmarcVerdict.NONE, "")
    return Authentication(NOTHING, NOTHING, dkim, arc, dmarc)
