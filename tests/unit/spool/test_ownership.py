"""Files below a spool are readable and writable for their owner only: created so under any umask, corrected if they are
ours, refused if they are not."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.net.system import SystemClock
from gateway.service.observer import clear_counters
from gateway.spool.backup import back_up_shard
from gateway.spool.disk import SpoolUnusable
from gateway.spool.sqlite import SqliteSpool
from tests.support.spooling import content_of, make_intake, make_message, replace

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to somebody else needs root")
NOBODY = 65534


@pytest.fixture(autouse=True, params=[0o000, 0o022], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


async def use(directory: Path) -> None:
    """A small message and a large one are stored."""
    spool = await SqliteSpool.open(directory, SystemClock())
    try:
        await spool.commit(make_intake())
        writer = spool.open_content()
        writer.write(bytes(1_500_000))
        path = await writer.finish()
        message = replace(make_message(b""), content=content_of(bytes(1_500_000), path))
        await spool.commit(make_intake(message=message))
    finally:
        await spool.close()


def modes(directory: Path) -> set[tuple[str, int]]:
    found = [directory, *directory.rglob("*")]
    return {("directory" if one.is_dir() else "file", stat.S_IMODE(one.lstat().st_mode)) for one in found}


async def test_everything_is_made_private(tmp_path: Path) -> None:
    spool = tmp_path / "var" / "spool"
    clear_counters(spool, 2)
    await use(spool)
    await asyncio.to_thread(back_up_shard, spool / "0", tmp_path / "copy" / "0")
    assert modes(spool) == {("directory", 0o700), ("file", 0o600)}
    assert modes(tmp_path / "copy") == {("directory", 0o700), ("file", 0o600)}


async def test_what_is_ours_is_tightened(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    await use(spool)
    for path in (spool, spool / "0", spool / "0" / "content"):
        path.chmod(0o777)
    (spool / "0" / "spool.db").chmod(0o666)
    await use(spool)
    assert modes(spool) == {("directory", 0o700), ("file", 0o600)}


@as_root
@pytest.mark.parametrize("what", ["", "0", "0/content", "0/spool.db"])
async def test_what_is_somebody_elses_is_refused(tmp_path: Path, what: str) -> None:
    spool = tmp_path / "spool"
    await use(spool)
    os.chown(spool / what, NOBODY, NOBODY)
    with pytest.raises(SpoolUnusable, match="belongs to user 65534, and this is user 0: run it as that user, or chown"):
        await use(spool)


@pytest.mark.parametrize("what", ["0", "0/content", "0/lock", "0/spool.db"])
async def test_a_link_is_refused_and_its_target_left_alone(tmp_path: Path, what: str) -> None:
    spool, elsewhere = tmp_path / "spool", tmp_path / "elsewhere"
    await use(spool)
    if what.endswith(("lock", "db")):
        elsewhere.write_text("what somebody needs")
    else:
        elsewhere.mkdir()
        (elsewhere / "spool.db").write_text("what somebody needs")
    link = spool / what
    link.rename(spool / "away")
    link.symlink_to(elsewhere)
    with pytest.raises(SpoolUnusable, match=r"link|not a file of its own"):
        await use(spool)
    file = elsewhere if elsewhere.is_file() else elsewhere / "spool.db"
    assert file.read_text() == "what somebody needs"


def test_a_link_in_place_of_the_counters_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "counter_0.db").touch()
    (tmp_path / "metrics").symlink_to(elsewhere)
    with pytest.raises(OSError, match="metrics is a link"):
        clear_counters(tmp_path, 1)
    assert (elsewhere / "counter_0.db").exists()


async def test_the_spool_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "spool").symlink_to(tmp_path / "there")
    await use(tmp_path / "spool")
    assert (tmp_path / "there" / "0" / "spool.db").exists()
