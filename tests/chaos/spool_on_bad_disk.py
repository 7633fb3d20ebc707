"""A process whose disk fails half-way, under failing_disk.c. Arguments: spool, failure (`eio` or `full`), `heal` or
`die`. Prints the result of each call, one word a line."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable
from pathlib import Path

from gateway.ports import SpoolFull
from gateway.spool.rows import RetentionPeriods
from gateway.spool.sqlite import SqliteSpool
from tests.support.spooling import HandClock, claim_of, make_intake, make_message, make_refusal, make_settlement


async def tell(call: Awaitable[object]) -> None:
    try:
        await call
        print("stored", flush=True)
    except SpoolFull:
        print("SpoolFull", flush=True)


async def main() -> None:
    directory, failure, end = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    spool = await SqliteSpool.open(directory, HandClock(), retention=RetentionPeriods(failed_seconds=1e9), reserve=0)
    before = [make_intake(id=f"before{at}", claimed=True) for at in range(4)]
    for intake in before:
        await tell(spool.commit(intake))
    await spool.commit(make_refusal(durable=False, id="lazy"))
    await spool.reader.story("lazy")

    flag = f"{directory}.{failure}"
    os.close(os.open(flag, os.O_CREAT))
    await tell(spool.commit(make_intake(id="during", message=make_message(b"x" * 100_000))))
    await asyncio.gather(*(tell(spool.commit(make_intake(id=f"during{at}"))) for at in range(5)))
    await tell(spool.settle(make_settlement(claim_of(before[0]))))
    writer = spool.open_content()
    for _ in range(40):
        writer.write(b"y" * 65_536)
    await tell(writer.finish())
    if end == "die":
        os._exit(0)

    os.unlink(flag)
    await tell(spool.commit(make_intake(id="after")))
    await tell(spool.settle(make_settlement(claim_of(before[1]))))
    writer = spool.open_content()
    writer.write(b"z" * 2_000_000)
    await tell(writer.finish())
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
