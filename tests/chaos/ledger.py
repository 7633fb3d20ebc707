"""What clients were told and what backends took, so that nothing lost and nothing doubled goes unseen."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass
class Copy:
    """One time that a backend took one message for one recipient."""

    connection: int
    kill: int
    """How many kills there had been."""
    uncertain: str = ""
    """Why the gateway may not have had the answer on stable storage: `hang-up` instead of an answer; `kill` while the
    message was the last one on its connection; `settling`: a kill just after its connection had begun with the next
    one; `disk`, which failed until a kill came."""


@dataclass
class Ledger:
    """All of a run."""

    kills: int = 0
    acknowledged: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Token -> the id in the reply, and the recipients."""
    refused: Counter[int] = field(default_factory=Counter)
    """Reply codes of messages that were not taken."""
    unanswered: int = 0
    """Messages whose client got no reply: whatever becomes of them is right."""
    copies: dict[tuple[str, str], list[Copy]] = field(default_factory=lambda: defaultdict(list))
    """(token, recipient) -> every copy."""
    notices: Counter[str] = field(default_factory=Counter)
    """DSNs by the token of the message that they return."""

    def doubled(self) -> Counter[str]:
        """Copies beyond the first, by what made the one before uncertain; under `nothing` there must be none."""
        return Counter(copy.uncertain or "nothing" for copies in self.copies.values() for copy in copies[:-1])
