"""The effect of a backend's own state on a recipient: a stopped route refuses mail, but not that for role addresses."""

from __future__ import annotations

import pytest

from gateway.model.envelope import IPText, Mailbox
from gateway.policy.routing import RoutingTable
from gateway.service.inquiry import NoInquiry
from gateway.service.recipients import refuse_by_callout, refuse_stopped_route
from tests.support.sending import mailbox

TABLE = RoutingTable({"corp.example": "google"}, {})
CLIENT = IPText("192.0.2.1")


class Denying(NoInquiry):
    """Every mailbox that is asked about is unknown."""

    async def is_unknown(self, mailbox: Mailbox, backend: str, client: IPText) -> bool:
        return True


@pytest.mark.parametrize(
    ("address", "admitted", "callout", "refusal"),
    [
        ("bob@corp.example", True, False, None),
        ("bob@corp.example", False, False, "route-stopped"),
        ("bob@corp.example", True, True, "callout"),
        ("abuse@corp.example", False, True, None),
        ("Postmaster@corp.example", False, True, None),
    ],
)
async def test_who_is_refused(address: str, admitted: bool, callout: bool, refusal: str | None) -> None:
    table = RoutingTable(TABLE.domains, {}, callout=frozenset({"corp.example"} if callout else ()))
    found = refuse_stopped_route(mailbox(address), table, lambda backend: admitted)
    found = found or await refuse_by_callout(mailbox(address), CLIENT, table, Denying())
    assert (found[0] if found else None) == refusal
