"""Alarms by HTTP: one POST of JSON to an address of the admin's."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Sequence

from gateway.mail.alarm import describe
from gateway.model.alarm import Alarm
from gateway.net.bounded import WebTrouble, ask_web

_SECONDS = 10.0


class Webhook:
    """A `service.alarms.Courier`."""

    name = "webhook"

    def __init__(self, url: str, hostname: str) -> None:
        """`url` begins with http:// or https://."""
        self._url = url
        self._hostname = hostname

    async def tell(self, alarms: Sequence[Alarm]) -> None:
        """POST them all at once. Raises OSError when the answer is not 2xx, or none comes."""
        text = "\n\n".join(describe(alarm) for alarm in alarms)
        said = {
            # What chat services show; the rest is for programs.
            "text": f"{self._hostname}: {text}",
            "gateway": self._hostname,
            "alarms": [_as_json(alarm) for alarm in alarms],
        }
        request = urllib.request.Request(
            self._url, json.dumps(said).encode(), {"Content-Type": "application/json", "User-Agent": "waypost"}
        )
        await asyncio.to_thread(_post, request)


def _as_json(alarm: Alarm) -> dict[str, object]:
    return {
        "name": alarm.name,
        "title": alarm.title,
        "id": alarm.id,
        "at": alarm.at,
        "fields": dict(alarm.fields),
        "repeated": alarm.repeated,
    }


def _post(request: urllib.request.Request) -> None:
    """A redirect is a failure: what it leads to would get no alarm, but a GET."""
    try:
        with ask_web(request, _SECONDS) as answer:
            if not 200 <= answer.status < 300:
                raise OSError(f"the web server answers {answer.status}")
    except WebTrouble as error:
        raise OSError(str(error)) from None
