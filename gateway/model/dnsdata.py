"""DNS as data: a question, an answer, and the set of answers that a verdict rests on."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.value import Value


class DnsStatus(StrEnum):
    """The status of a lookup."""

    FOUND = "found"
    NODATA = "nodata"
    """The name exists, the type does not."""
    NXDOMAIN = "nxdomain"
    SERVFAIL = "servfail"
    TIMEOUT = "timeout"


class Question(Value, order=True):
    """A name (lower-case A-labels, no final dot) and a record type."""

    name: str
    type: str


class Answer(Value):
    """The answer of DNS to one question. TXT records are their strings joined, one latin-1 character an octet; MX is
    `10 host`; names have no final dot."""

    status: DnsStatus
    records: tuple[str, ...] = ()
    authentic: bool = False
    """The AD bit of a validating resolver."""

    @property
    def failed(self) -> bool:
        """True when DNS gave no answer at all: a temporary error, never the absence of a record."""
        return self.status in (DnsStatus.SERVFAIL, DnsStatus.TIMEOUT)


class Lookup(Value):
    """One question with its answer, as kept beside a verdict."""

    question: Question
    answer: Answer
