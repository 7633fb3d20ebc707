"""DNS."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from gateway.model.dnsdata import Answer, Question


class Resolver(Protocol):
    """DNS: a live view of what is known, and a way to learn more."""

    def known(self, question: Question) -> Answer | None:
        """The answer if it is in the cache and still fresh; never does IO."""

    async def fetch(self, questions: Collection[Question], asker: str = "") -> dict[Question, Answer]:
        """Ask for all of them at once (single flight). A lookup that fails is an Answer too; never raises. `asker` is
        on whose behalf: each has a fair share of the lookups under way; empty for the gateway's own.
        May be cancelled by its caller: a lookup that nobody waits for any more ends."""
