"""Putting a rule set in force: in the configuration's file, and in the gateway that runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from gateway.admin.control import CommandRefused, NobodyThere, ask
from gateway.config.load import find_spool
from gateway.config.promotion import NotWritten, name_set
from gateway.spool.disk import SpoolUnusable
from gateway.spool.reader import find_shards


async def promote(path: Path, name: str) -> str:
    """Name the set in the configuration and have a running gateway read it; what came of it. When the gateway refuses,
    the file is as it was. Raises NotWritten, Refused."""
    file, before = _name(path, name)
    try:
        answers = await _reload(path)
    except BaseException:
        _write(file, before, name)
        raise
    problems = list(dict.fromkeys(answer["problem"] for answer in answers if answer["problem"]))
    if problems:
        _write(file, before, name)
        raise CommandRefused("\n".join([*problems, f"Not promoted: {path} is as it was."]))
    if not answers:
        return f'{path} says set = "{name}": in force from the next start on.'
    return f'{path} says set = "{name}", and the running gateway judges by it.'


def _name(path: Path, name: str) -> tuple[Path, bytes]:
    """Name the set; the file, and what stood in it. A link stays one."""
    file = path.resolve()
    before = file.read_bytes()
    _write(file, name_set(before.decode("utf-8-sig"), name).encode(), name)
    return file, before


async def _reload(path: Path) -> list[dict[str, Any]]:
    """Each running worker's answer; none when no gateway runs."""
    answers = []
    try:
        shards = find_shards(find_spool(path, os.environ))
    except SpoolUnusable:
        return []
    for shard in shards:
        try:
            answers.append(await ask(shard, "reload", {}))
        except NobodyThere:
            continue
    return answers


def _write(file: Path, octets: bytes, name: str) -> None:
    """The whole new file or the old one, whatever happens; owner and mode stay."""
    fresh = file.with_name(f".{file.name}.new")
    try:
        with fresh.open("wb") as stream:
            stream.write(octets)
            stream.flush()
            os.fsync(stream.fileno())
        shutil.copymode(file, fresh)
        status = file.stat()
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(fresh, status.st_uid, status.st_gid)
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        said = f"{file} cannot be written ({error.strerror})"
        raise NotWritten(f'{said}: write set = "{name}" into its [policy] by hand, then: waypost reload') from None
