"""Invariant: a packed noun comes back equal, with any octets and text in it; damage is Unreadable."""

from __future__ import annotations

import contextlib
import zlib
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.delivery import Attempt, Ending, Trace, Transfer
from gateway.model.envelope import IPText, Mailbox, Recipient
from gateway.model.ingress import InternalIngress
from gateway.model.message import Evidence, Span
from gateway.model.value import Value, replace
from gateway.spool import codec
from gateway.spool.codec import Codec, Unreadable
from tests.support.spooling import make_intake, make_message, make_refusal

# Surrogates too: an octet that is not UTF-8 becomes one.
_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
_PLAIN: dict[object, st.SearchStrategy[Any]] = {
    str: _TEXT,
    IPText: st.sampled_from(["192.0.2.1", "2001:db8::1"]),
    bytes: st.binary(max_size=40),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    # What MessagePack can hold; sizes and counts are far below.
    int: st.integers(-(1 << 63), (1 << 63) - 1),
    NoneType: st.none(),
}


def any_of(noun: Any) -> st.SearchStrategy[Any]:
    """Every value of a noun's type."""
    inner = get_args(noun)
    if noun in _PLAIN:
        return _PLAIN[noun]
    if isinstance(noun, type) and issubclass(noun, Value):
        return st.builds(noun, **{name: any_of(type) for name, type in get_type_hints(noun).items()})
    if get_origin(noun) is tuple:
        if inner[-1] is Ellipsis:
            return st.lists(any_of(inner[0]), max_size=3).map(tuple)
        return st.tuples(*map(any_of, inner))
    return st.one_of(*map(any_of, inner)) if inner else st.sampled_from(list(noun))


@given(any_of(Trace))
def test_trace(trace: Trace) -> None:
    expected = trace
    if trace.content is not None:
        expected = replace(trace, content=replace(trace.content, data=None, path=""))
    octets = codec.pack_trace(trace)
    assert codec.TRACE.unpack(octets) == expected
    assert codec.TRACED_EVIDENCE.unpack(octets).evidence == trace.evidence


@given(any_of(Transfer))
def test_transfer(transfer: Transfer) -> None:
    rcpts = codec.RECIPIENTS.pack(transfer.rcpts)
    again = codec.unpack_transfer(
        transfer.due, transfer.attempts, transfer.delay_warned, rcpts, codec.pack_transfer(transfer)
    )
    assert again == transfer


@given(any_of(Attempt), any_of(tuple[Ending, ...]))
def test_attempt(attempt: Attempt, endings: tuple[Ending, ...]) -> None:
    assert codec.ATTEMPT.unpack(codec.ATTEMPT.pack((attempt, endings))) == (attempt, endings)


@given(any_of(Evidence), any_of(tuple[Span, ...]))
def test_evidence_and_spans(evidence: Evidence, spans: tuple[Span, ...]) -> None:
    assert codec.EVIDENCE.unpack(codec.EVIDENCE.pack(evidence)) == evidence
    assert codec.SPANS.unpack(codec.SPANS.pack(spans)) == spans


def test_internal_ingress_comes_back_as_such() -> None:
    trace = make_intake().trace
    inside = InternalIngress(IPText("10.0.0.9"), "inner", "mx", IPText("10.0.0.9"), "own_hop.exchange")
    trace = replace(trace, edge=None, internal=inside)
    assert codec.TRACE.unpack(codec.pack_trace(trace)) == trace


def test_octets_of_the_content_are_not_in_the_trace() -> None:
    message = make_message(b"needle" * 100)
    trace = replace(make_refusal().trace, content=message.content)
    assert codec.TRACE.unpack(codec.pack_trace(trace)).content == replace(message.content, data=None)


def test_what_the_first_spools_have_is_read() -> None:
    trace = make_intake().trace
    plain: Codec[Trace] = Codec(Trace)
    raw = zlib.compressobj(1, zlib.DEFLATED, -13)
    assert codec.TRACE.unpack(b"\x03" + raw.compress(plain.pack(trace)[1:]) + raw.flush()) == trace


def test_traces_are_compressed() -> None:
    trace = make_intake(message=make_message(b"Received: from a by b\r\n" * 400)).trace
    trace = replace(trace, added=trace.added * 500)
    assert len(codec.pack_trace(trace)) < 2000


class _Old(Value):
    name: str
    gone: int = 7


class _New(Value):
    name: str
    added: tuple[str, ...] = ("default",)


@pytest.mark.parametrize("name", ["plain", "\udcff"])
def test_fields_may_come_and_go(name: str) -> None:
    old: Codec[_Old] = Codec(_Old)
    new: Codec[_New] = Codec(_New)
    assert new.unpack(old.pack(_Old(name))) == _New(name)


_GOOD = codec.RECIPIENTS.pack((Recipient(Mailbox("a", "b", "b")),))
_TRACE = codec.pack_trace(make_intake().trace)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x01",
        b"\x02",
        b"\x03",
        b"\x09" + _GOOD,
        _GOOD[:-1],
        _TRACE,
        b"\x02[1",
        b"\x01" + msgspec.msgpack.encode(5),
    ],
)
def test_damage_is_unreadable(octets: bytes) -> None:
    with pytest.raises(Unreadable):
        codec.RECIPIENTS.unpack(octets)


@given(st.binary(max_size=60), st.integers(0, len(_TRACE)))
def test_any_damage_is_unreadable_or_harmless(noise: bytes, at: int) -> None:
    for octets in (noise, _TRACE[:at] + noise + _TRACE[at + len(noise) :]):
        with contextlib.suppress(Unreadable):
            codec.TRACE.unpack(octets)


@given(_TEXT)
def test_text_for_a_column_can_always_be_stored(text: str) -> None:
    shown = codec.as_text(text)
    assert shown.encode("utf-8").decode() == shown
    assert shown == text or not text.isascii()
