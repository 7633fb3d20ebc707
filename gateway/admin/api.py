"""Metrics, health and readiness over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class _Server(uvicorn.Server):
    """uvicorn takes SIGTERM for itself; here the gateway's own drain has it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_application(
    registry: CollectorRegistry,
    hindrance: Callable[[], str],
    waiting: Callable[[], Awaitable[dict[str, int]]],
) -> Starlette:
    """`/metrics` for Prometheus, `/healthz` while the process lives, `/readyz` while it takes mail: `hindrance` says
    why it does not, nothing when it does."""

    async def metrics(request: Request) -> Response:
        lines = [
            "# HELP waypost_queue_transfers Transfers that wait, by backend",
            "# TYPE waypost_queue_transfers gauge",
        ]
        for backend, count in sorted((await waiting()).items()):
            lines.append(f'waypost_queue_transfers{{backend="{backend}"}} {count}')
        gauge = ("\n".join(lines) + "\n").encode()
        return Response(generate_latest(registry) + gauge, media_type=CONTENT_TYPE_LATEST)

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readiness(request: Request) -> Response:
        status = hindrance()
        return JSONResponse({"status": status or "ready"}, status_code=503 if status else 200)

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", health), Route("/readyz", readiness)])


@contextlib.asynccontextmanager
async def serve_http(application: Starlette, listening: socket.socket) -> AsyncIterator[int]:
    """Serve on a bound socket until the block ends; yields the port."""
    config = uvicorn.Config(application, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listening.close()
