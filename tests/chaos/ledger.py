"""The replies that clients got and the messages that backends took, so that every lost or doubled message is found."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass
class Copy:
    """One time at which a backend took one message for one recipient."""

    transaction: int
    kills: int
    """Number of kills when it began."""
    unanswered: bool = False
    """The backend hung up instead of answering: the gateway has to try again."""
    id: str = ""
    """The gateway's id for the message. A different id means that it took the message twice."""


@dataclass
class Doubled:
    """Copies beyond the first, by the events between them."""

    after_hang_up: int = 0
    after_kill: int = 0
    transactions_of_worst_kill: int = 0
    """Promise P1: at most one for each open backend transaction; a transaction is open until its reply is recorded."""
    after_retry: int = 0
    """The client sent it again, and it counted as a new message."""
    taken_twice: list[str] = field(default_factory=list)
    """Such messages, with the gateway's ids."""
    after_nothing: int = 0


@dataclass
class Ledger:
    """All events of a run."""

    kills: int = 0
    acknowledged: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Token -> the id in the reply, and the recipients."""
    refused: Counter[int] = field(default_factory=Counter)
    """Reply codes of messages that were not taken."""
    retried: int = 0
    """Messages that were answered at a later attempt of their client."""
    unanswered: int = 0
    """Messages whose client got no reply: any result is right for them."""
    copies: dict[tuple[str, str], list[Copy]] = field(default_factory=lambda: defaultdict(list))
    """(token, recipient) -> every copy."""
    notices: Counter[str] = field(default_factory=Counter)
    """DSNs by the token of the message that they return."""

    def doubled(self) -> Doubled:
        """Count them."""
        found, killed = Doubled(), defaultdict[int, set[int]](set)
        for (token, rcpt), copies in self.copies.items():
            for before, after in pairwise(copies):
                if before.id != after.id:
                    found.after_retry += 1
                    found.taken_twice.append(f"{token} {rcpt}: {before.id} {after.id}")
                elif before.unanswered:
                    found.after_hang_up += 1
                elif after.kills > before.kills:
                    found.after_kill += 1
                    killed[before.kills].add(before.transaction)
                else:
                    found.after_nothing += 1
        found.transactions_of_worst_kill = max(map(len, killed.values()), default=0)
        return found
