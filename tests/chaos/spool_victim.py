"""A process that commits and settles as fast as it can until it is killed. Arguments: spool, log, seed.

A line in lower case is written before a call, the same in upper case after it returned:
`c ID RCPTS SHA256 BACKENDS` a commit, `s TOKEN MESSAGE DSN` a settlement (its attempt's `started` is the token).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from pathlib import Path

from gateway.model.delivery import Claim, Final
from gateway.model.message import Evidence, Message
from gateway.net.system import SystemClock
from gateway.spool.rows import RetentionPeriods
from gateway.spool.sqlite import SqliteSpool
from tests.support.spooling import content_of, make_intake, make_message, make_refusal, make_settlement

_WORKERS = 12


class Victim:
    def __init__(self, spool: SqliteSpool, log: int, seed: int) -> None:
        self.spool = spool
        self.clock = SystemClock()
        self.log = log
        self.chance = random.Random(seed)
        self.serial = 0

    def say(self, *words: object) -> None:
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())

    async def work(self) -> None:
        while True:
            step = self.chance.random()
            if step < 0.55:
                await self.commit()
            elif step < 0.95:
                for claim in await self.spool.claim((), 3, self.clock.now(), 900.0):
                    await self.settle(claim)
            elif step < 0.98:
                await self.spool.commit(make_refusal(durable=False, id=self.clock.new_id()))
            else:
                await self.spool.purge(self.clock.now())

    async def message(self) -> Message:
        size = self.chance.choice((50, 3000, 200_000)) if self.chance.random() < 0.9 else 1_500_000
        data = self.chance.randbytes(size)
        if size < 1_000_000:
            return make_message(data)
        writer = self.spool.open_content()
        for start in range(0, size, 65_536):
            writer.write(data[start : start + 65_536])
        return Message(content_of(data, await writer.finish()), Evidence(b"Subject: x\r\n", (), size))

    async def commit(self) -> None:
        id, message = self.clock.new_id(), await self.message()
        rcpts = tuple(f"{id}r{at}" for at in range(self.chance.randint(1, 3)))
        backends = ("google", "microsoft")[: self.chance.randint(1, 2)]
        claimed = self.chance.random() < 0.5
        now = self.clock.now()
        intake = make_intake(
            id=id, backends=backends, rcpts=rcpts, message=message, claimed=claimed, due=now, received=now
        )
        line = (id, len(rcpts), message.content.sha256.hex(), ",".join(backends))
        self.say("c", *line)
        await self.spool.commit(intake)
        self.say("C", *line)
        if claimed and self.chance.random() < 0.8:
            for transfer in intake.transfers:
                await self.settle(Claim(transfer, message, 1))

    async def settle(self, claim: Claim) -> None:
        rcpts = list(claim.transfer.rcpts)
        cut = self.chance.randint(0, len(rcpts))
        done = tuple((rcpt, self.chance.choice((Final.DELIVERED, Final.FAILED))) for rcpt in rcpts[:cut])
        now = self.clock.now()
        dsn = None
        if any(state is Final.FAILED for _, state in done):
            dsn = make_intake(id=self.clock.new_id(), backends=("direct",), due=now + 1e6, received=now)
        self.serial += 1
        token = os.getpid() * 1_000_000 + self.serial
        settlement = make_settlement(
            claim, done=done, remaining=tuple(rcpts[cut:]), due=now, dsn=dsn, started=float(token)
        )
        line = (token, claim.transfer.message_id, dsn.trace.id if dsn else "-")
        self.say("s", *line)
        if await self.spool.settle(settlement):
            self.say("S", *line)


async def main() -> None:
    directory, log, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    spool = await SqliteSpool.open(directory, SystemClock(), retention=RetentionPeriods(failed_seconds=0.2), reserve=0)
    victim = Victim(spool, os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), seed)
    victim.say("ready", hashlib.sha256(str(seed).encode()).hexdigest()[:8])
    await asyncio.gather(*(victim.work() for _ in range(_WORKERS)))


if __name__ == "__main__":
    asyncio.run(main())
