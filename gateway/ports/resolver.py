"""DNS."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from gateway.model.dnsdata import Answer, Question


class Resolver(Protocol):
    """DNS: a live view of what is known, and a way to learn more."""

    def known(self, question: Question) -> Answer | None:
        """The answer if it is in the cache and still fresh; never does IO."""

    async def fetch(self, questions: Collection[Question]) -> dict[Question, Answer]:
        """Ask for all of them at once (single flight). A lookup that fails is an Answer too; never raises.
        May be cancelled by its caller at a deadline: lookups under way go on for the cache."""
