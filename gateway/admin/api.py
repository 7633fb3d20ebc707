"""Metrics, health and readiness over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.model.delivery import Backlog


class _Server(uvicorn.Server):
    """uvicorn without its own SIGTERM handling: the gateway's own drain handles the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


_MOST_CONNECTIONS = 64
_REQUEST_SECONDS = 10.0
"""Seconds for which a connection may be open without a request."""


class BoundedHttp(H11Protocol):
    """uvicorn's protocol with the limits that it lacks: connections without a request use few descriptors, are closed
    soon, and never keep a request out."""

    opened = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.opened = self.loop.time()
        self.loop.call_later(_REQUEST_SECONDS, self._end_if_idle)
        silent = [one for one in self.connections if isinstance(one, BoundedHttp) and one.cycle is None]
        if len(self.connections) > _MOST_CONNECTIONS and silent:
            min(silent, key=lambda one: one.opened).transport.abort()

    def _end_if_idle(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.abort()


def render_backlogs(backlogs: Sequence[Backlog], now: float) -> str:
    """Waiting and held transfers, as gauges by backend; `now` is in epoch seconds."""
    gauges = (
        (
            "waypost_queue_transfers",
            "Transfers that wait or are under way, by backend",
            [(one.backend, one.waiting) for one in backlogs if one.waiting],
        ),
        (
            "waypost_queue_held_transfers",
            "Transfers that are held until an admin decides, by backend",
            [(one.backend, one.held) for one in backlogs if one.held],
        ),
        (
            "waypost_queue_oldest_seconds",
            "Age of the oldest transfer that waits, by backend",
            [(one.backend, round(max(now - one.oldest, 0.0))) for one in backlogs if one.oldest is not None],
        ),
    )
    lines = []
    for name, help, values in gauges:
        lines += [f"# HELP {name} {help}", f"# TYPE {name} gauge"]
        lines += [f'{name}{{backend="{backend}"}} {value}' for backend, value in sorted(values)]
    return "\n".join(lines) + "\n"


def make_application(
    registry: CollectorRegistry,
    hindrance: Callable[[], str],
    backlogs: Callable[[], Awaitable[Sequence[Backlog]]],
) -> Starlette:
    """`/metrics` for Prometheus, `/healthz` while the process lives, `/readyz` while it takes mail: `hindrance` says
    why it does not, nothing when it does."""

    async def metrics(request: Request) -> Response:
        gauges = render_backlogs(await backlogs(), time.time()).encode()
        return Response(generate_latest(registry) + gauges, media_type=CONTENT_TYPE_LATEST)

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readiness(request: Request) -> Response:
        status = hindrance()
        return JSONResponse({"status": status or "ready"}, status_code=503 if status else 200)

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", health), Route("/readyz", readiness)])


@contextlib.asynccontextmanager
async def serve_http(application: Starlette, listening: socket.socket) -> AsyncIterator[int]:
    """Serve on a bound socket until the block ends; yields the port."""
    config = uvicorn.Config(
        application, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2, http=BoundedHttp
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listening.close()
