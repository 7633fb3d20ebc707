from __future__ import annotations

import hashlib
import time

import pytest

from gateway.authentication.body import BodyHasher, wanted_digests
from gateway.mail.header import parse_header
from gateway.model.delivery import Intake
from gateway.ports import ContentWriter, IntakeReader
from gateway.service.collector import IN_MEMORY, Collector
from tests.support.samples import nested_multipart, sign

MESSAGE = sign(nested_multipart("author@sender.example"), "sender.example")


class File:
    def __init__(self) -> None:
        self.octets = bytearray()
        self.discarded = 0

    def write(self, chunk: bytes) -> None:
        self.octets += chunk

    async def drain(self) -> None:
        pass

    async def finish(self) -> str:
        return "file"

    def discard(self) -> None:
        self.discarded += 1


class Files:
    async def commit(self, intake: Intake) -> None:
        pytest.fail("a collector commits nothing")

    def __init__(self) -> None:
        self.files: list[File] = []

    def note_answer(self, id: str, heard: bool) -> None:
        pass

    async def find_unheard(self, marks: tuple[bytes, bytes], now: float, sure: bool = False) -> str | None:
        return None

    @property
    def reader(self) -> IntakeReader:
        pytest.fail("a collector recalls nothing")

    def open_content(self) -> ContentWriter:
        self.files.append(File())
        return self.files[-1]


def collector(files: Files | None = None, header_limit: int = 524_288, carry: bool = False) -> Collector:
    return Collector(files or Files(), header_limit, carry=carry)


async def feed(subject: Collector, octets: bytes, size: int) -> None:
    for start in range(0, len(octets), size):
        await subject.take(octets[start : start + size])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 100_000])
async def test_evidence_is_the_same_however_octets_arrive(size: int) -> None:
    subject = collector()
    await feed(subject, MESSAGE, size)
    message = await subject.finish()
    header, _, body = MESSAGE.partition(b"\r\n\r\n")
    assert message.evidence.header == header + b"\r\n"
    assert message.content.data == MESSAGE
    assert message.content.sha256 == hashlib.sha256(MESSAGE).digest()
    assert (message.content.leading_dot, message.content.eight_bit) == (True, True)
    hasher = BodyHasher(wanted_digests(parse_header(header + b"\r\n")))
    hasher.update(body)
    assert message.evidence.digests == hasher.digests()
    assert message.evidence.digests


@pytest.mark.parametrize(
    ("octets", "header"),
    [
        (b"", b""),
        (b"\r\nbody only\r\n", b""),
        (b"A: b\r\n", b"A: b\r\n"),
        (b"A: b\r\n\r\n", b"A: b\r\n"),
    ],
)
async def test_messages_without_header_or_body(octets: bytes, header: bytes) -> None:
    for size in (1, 100):
        subject = collector()
        await feed(subject, octets, size)
        message = await subject.finish()
        assert message.evidence.header == header
        assert message.content.data == octets


async def test_large_content_goes_to_a_file_as_it_comes() -> None:
    files = Files()
    subject = collector(files)
    octets = MESSAGE + b"x" * IN_MEMORY + b"\r\n"
    await feed(subject, octets, 100_000)
    assert len(files.files) == 1, "before the end of data"
    message = await subject.finish()
    assert message.content.data is None
    assert message.content.path == "file"
    assert bytes(files.files[0].octets) == octets
    assert message.content.sha256 == hashlib.sha256(octets).digest()
    subject.keep()
    subject.discard()
    assert files.files[0].discarded == 0
    subject = collector(files)
    await feed(subject, octets, 100_000)
    subject.discard()
    assert files.files[1].discarded == 1


@pytest.mark.parametrize(
    "header", [b"A: " + b"x" * 2000 + b"\r\n", b"A: b\r\n" * 400], ids=["one long field", "many fields"]
)
async def test_a_header_over_the_limit_is_told_and_not_read(header: bytes) -> None:
    for octets in (header + b"\r\nbody\r\n", header):
        for size in (1, 100, 10_000):
            subject = collector(header_limit=1000)
            await feed(subject, octets, size)
            message = await subject.finish()
            assert subject.header_too_big
            assert message.evidence.header == b""


async def test_a_header_of_very_many_fields_is_not_read() -> None:
    for count, line, too_big in ((10_001, b"a:\r\n", True), (9_999, b"a:\r\n", False), (40_000, b" x\r\n", False)):
        subject = collector()
        await feed(subject, b"From: x\r\n" + line * count + b"\r\n", 10_000)
        await subject.finish()
        assert subject.header_too_big is too_big


async def test_bare_newlines_are_noticed() -> None:
    for octets in (b"A: b\n\r\nx\r\n", b"A: b\r\n\r\nx\ry\r\n", b"A: b\r\n\r\nx\0y\r\n"):
        subject = collector()
        await feed(subject, octets, 1)
        assert subject.bare_newline


@pytest.mark.parametrize(
    ("octets", "carried"),
    [
        (b"A: b\r\n\r\nx\ny\r\n", True),
        (b"A: b\r\n\r\nx\ry\0", True),
        (b"\r\nx\ny\r\n", True),
        (b"A: b\r\n\r\nx\ny\r\n.\r\n", True),
        (b"A: b\r\n\r\nx\n.\n", False),
        (b"A: b\r\n\r\n.\n", False),
        (b"A: b\r\n\r\nx\n.", False),
        (b"A: b\n\r\nx\ny\r\n", False),
        (b"A: b\n\nx\ny\r\n", False),
        (b"A: b\r\nC\0: d\r\n\r\nx\ny\r\n", False),
        (b"A: b\r\nx\ny", False),
    ],
)
async def test_what_can_be_carried(octets: bytes, carried: bool) -> None:
    for size in (1, 2, 3, 5, 100):
        subject, plain = collector(carry=True), collector()
        for one in (subject, plain):
            await feed(one, octets, size)
            message = await one.finish()
            assert one.bare_newline
            assert message.content.chunks_only
        assert subject.can_be_carried is carried
        assert not plain.can_be_carried


async def test_content_without_its_last_crlf_goes_by_bdat_only() -> None:
    for octets, chunks_only in ((b"A: b\r\n\r\nx", True), (b"A: b\r\n\r\nx\r\n", False), (b"A: b\r\n\r\nx\r", True)):
        subject = collector()
        await feed(subject, octets, 3)
        assert (await subject.finish()).content.chunks_only is chunks_only


@pytest.mark.parametrize(("octets", "too_big"), [(131_072, False), (131_073, True), (500_000, True)])
async def test_the_length_of_a_header_line_is_bounded(octets: int, too_big: bool) -> None:
    for head in (b"Subject: ", b"Subject: x\r\n "):
        subject = collector()
        line = head.rpartition(b"\n")[2]
        await feed(subject, head + b"x" * (octets - len(line)) + b"\r\nFrom: a@b.example\r\n\r\nbody\r\n", 65_536)
        assert subject.header_too_big is too_big


async def test_the_length_of_a_body_line_is_not() -> None:
    subject = collector()
    await feed(subject, b"From: a@b.example\r\n\r\n" + b"x" * 900_000 + b"\r\n", 65_536)
    assert not subject.header_too_big


async def test_long_header_lines_cost_little() -> None:
    header = (b"X-Long: " + b"x" * 60_000 + b"\r\n") * 8 + b"\r\nbody\r\n"
    began = time.process_time()
    await feed(collector(), header, 65_536)
    assert time.process_time() - began < 0.25
