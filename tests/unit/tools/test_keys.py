"""`waypost key`: new keys, the start of signing, and the time that a retired key's record must stay."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gateway.authentication.dkimpy import read_key as read_record
from gateway.config.keyring import (
    KEYRING,
    KeyEntry,
    KeyringUnusable,
    KeyState,
    read_key,
    read_keyring,
    write_keyring,
)
from gateway.net.resolver import ZoneResolver, read_zone
from gateway.tools.keys import (
    KeyRefusal,
    check_keys,
    compose_record,
    keys_json,
    make_keys,
    master_line,
    rotate,
    show_keys,
)

NOW = 1_790_000_000.0
DAY = 86_400.0
KEEP = 7 * DAY


def zone(tmp_path: Path, leave_out: str = "", wrong: str = "") -> ZoneResolver:
    """The records of all keys in DNS, except for one selector, and with a wrong one."""
    lines = [
        master_line(one.entry, one.record if one.entry.selector != wrong else other_record(tmp_path))
        for one in show_keys(tmp_path, read_keyring(tmp_path))
        if one.entry.selector != leave_out
    ]
    return ZoneResolver(read_zone("\n".join(lines) + "\n"))


def other_record(tmp_path: Path) -> str:
    first, *_ = make_keys(tmp_path / "other", "other.example", NOW)
    return compose_record(read_key(tmp_path / "other", first))


async def said(tmp_path: Path, resolver: ZoneResolver, now: float = NOW) -> dict[str, tuple[str, str]]:
    found = await check_keys(tmp_path, read_keyring(tmp_path), resolver, now, KEEP)
    return {one.entry.selector: (one.problem, one.advice) for one in found}


def states(tmp_path: Path) -> dict[str, str]:
    return {entry.selector: entry.state.value for entry in read_keyring(tmp_path)}


def test_a_pair_is_made_that_only_its_owner_reads_and_that_signs_nothing_yet(tmp_path: Path) -> None:
    made = make_keys(tmp_path / "keys", "own.example", NOW)
    assert [(entry.selector, entry.algorithm, entry.state) for entry in made] == [
        ("wp20260921r", "rsa-sha256", KeyState.NEW),
        ("wp20260921e", "ed25519-sha256", KeyState.NEW),
    ]
    for entry in made:
        file = tmp_path / "keys" / entry.file
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert not read_record(compose_record(read_key(tmp_path / "keys", entry))).problem
    assert read_keyring(tmp_path / "keys") == made


def test_a_second_pair_waits_for_the_first(tmp_path: Path) -> None:
    make_keys(tmp_path, "own.example", NOW)
    make_keys(tmp_path, "other.example", NOW)
    with pytest.raises(KeyRefusal, match=r"own\.example has new keys already"):
        make_keys(tmp_path, "own.example", NOW)
    with pytest.raises(KeyRefusal, match=r"third\.example has no new keys"):
        rotate(tmp_path, "third.example", NOW, KEEP)


def test_the_record_fits_a_zone_file(tmp_path: Path) -> None:
    for entry in make_keys(tmp_path, "own.example", NOW):
        record = compose_record(read_key(tmp_path, entry))
        line = master_line(entry, record)
        assert line.startswith(f"{entry.selector}._domainkey.own.example. 3600 IN TXT ( ")
        assert all(len(piece) <= 255 for piece in line.split('"')[1::2])
        assert "".join(line.split('"')[1::2]) == record


def test_two_rotations_on_one_day_and_what_is_forgotten(tmp_path: Path) -> None:
    make_keys(tmp_path, "own.example", NOW)
    make_keys(tmp_path, "other.example", NOW)
    rotate(tmp_path, "own.example", NOW, KEEP)
    make_keys(tmp_path, "own.example", NOW)
    rotate(tmp_path, "own.example", NOW, KEEP)
    assert states(tmp_path) == {
        "wp20260921r": "new",  # other.example's, which comes last in a map by selector
        "wp20260921e": "new",
        "wp20260921-2r": "signing",
        "wp20260921-2e": "signing",
    }
    own = [(entry.selector, entry.state.value) for entry in read_keyring(tmp_path) if entry.domain == "own.example"]
    assert own[:2] == [("wp20260921r", "retired"), ("wp20260921e", "retired")]
    later = NOW + KEEP
    make_keys(tmp_path, "own.example", later)
    left = rotate(tmp_path, "own.example", later, KEEP)
    assert [entry.selector for entry in left] == ["wp20260921-2r", "wp20260921-2e", "wp20260928r", "wp20260928e"]
    assert not (tmp_path / "own.example" / "wp20260921r.pem").exists()


async def test_what_dns_says_beside_each_key(tmp_path: Path) -> None:
    make_keys(tmp_path, "own.example", NOW)
    r, e = "wp20260921r", "wp20260921e"
    assert await said(tmp_path, zone(tmp_path)) == {
        r: ("", "published: `waypost key rotate own.example` signs with it"),
        e: ("", "published: `waypost key rotate own.example` signs with it"),
    }
    missing = await said(tmp_path, zone(tmp_path, leave_out=e))
    assert missing[e] == ("no record is published", "publish the record shown")
    wrong = await said(tmp_path, zone(tmp_path, wrong=r))
    assert wrong[r] == ("another key is published", "publish the record shown")
    rotate(tmp_path, "own.example", NOW, KEEP)
    assert (await said(tmp_path, zone(tmp_path)))[r] == ("", "")


async def test_a_retired_key_stays_in_dns_until_its_mail_is_delivered(tmp_path: Path) -> None:
    for _ in range(2):
        make_keys(tmp_path, "own.example", NOW)
        rotate(tmp_path, "own.example", NOW, KEEP)
    r = "wp20260921r"
    there, gone = zone(tmp_path), zone(tmp_path, leave_out=r)
    assert "leave its record until 2026-09-28" in (await said(tmp_path, there))[r][1]
    assert (await said(tmp_path, gone))[r] == ("no record is published", "publish it again until it is over")
    assert (await said(tmp_path, there, NOW + KEEP))[r][1].startswith("remove its record")
    assert (await said(tmp_path, gone, NOW + KEEP))[r] == ("", "")


async def test_dns_that_does_not_answer_is_told(tmp_path: Path) -> None:
    make_keys(tmp_path, "own.example", NOW)
    silent = ZoneResolver(read_zone('{"wp20260921r._domainkey.own.example": "TIMEOUT"}'))
    assert (await said(tmp_path, silent))["wp20260921r"] == ("DNS: timeout", "ask again later")


async def test_json_has_every_key(tmp_path: Path) -> None:
    make_keys(tmp_path, "own.example", NOW)
    found = json.loads(json.dumps(keys_json(show_keys(tmp_path, read_keyring(tmp_path)))))
    assert [set(one) for one in found] == [
        {"domain", "selector", "algorithm", "state", "since", "name", "record", "problem", "advice"}
    ] * 2


@pytest.mark.parametrize(
    "text",
    [
        "key = 1",
        "[[key]]\n",
        '[[key]]\ndomain = "../x"\nselector = "a"\nalgorithm = "rsa-sha256"\nstate = "new"\nsince = 1\n',
        '[[key]]\ndomain = "own.example"\nselector = "../a"\nalgorithm = "rsa-sha256"\nstate = "new"\nsince = 1\n',
        '[[key]]\ndomain = "own.example"\nselector = "a"\nalgorithm = "rsa-sha1"\nstate = "new"\nsince = 1\n',
        '[[key]]\ndomain = "own.example"\nselector = "a"\nalgorithm = "rsa-sha256"\nstate = "old"\nsince = 1\n',
        '[[key]]\ndomain = "own.example"\nselector = "a"\nalgorithm = "rsa-sha256"\nstate = "new"\nsince = "x"\n',
        "not toml",
    ],
)
def test_a_keyring_that_cannot_be_read_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / KEYRING).write_text(text)
    with pytest.raises(KeyringUnusable):
        read_keyring(tmp_path)


def test_a_keyring_is_read_as_it_was_written(tmp_path: Path) -> None:
    entries = (
        KeyEntry("own.example", "a", "rsa-sha256", KeyState.SIGNING, 1),
        KeyEntry("xn--bcher-kva.example", "b-1", "ed25519-sha256", KeyState.RETIRED, 2),
    )
    write_keyring(tmp_path, entries)
    assert read_keyring(tmp_path) == entries
    assert read_keyring(tmp_path / "nowhere") == ()
