"""Address maps from web servers."""

from __future__ import annotations

import asyncio
import http.client
import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from gateway.config.recipients import HttpMap, MapUnavailable
from gateway.mail.alarm import describe
from gateway.model.event import Alarm
from gateway.net.bounded import WebAnswer, WebTrouble, ask_web

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
            # Chat services show this field; the others are for programs.
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
    """A redirect is a failure: its target would get a GET, not an alarm."""
    try:
        with ask_web(request, _SECONDS) as answer:
            if not 200 <= answer.status < 300:
                raise OSError(f"the web server answers {answer.status}")
    except WebTrouble as error:
        raise OSError(str(error)) from None


class HttpSource:
    """A `MapSource`: one GET of a CSV file, conditional after the first one."""

    def __init__(self, settings: HttpMap) -> None:
        self._settings = settings
        self._validators: dict[str, str] = {}
        """The server's validators for an unchanged file (RFC 9110 section 13.1)."""

    @property
    def name(self) -> str:
        return self._settings.name

    def fetch(self, into: Path) -> bool:
        """Raises MapUnavailable for any answer except 200 and 304, for one that is too long, too slow or not known to
        be complete, and for none. A redirect is not followed: the Authorization is for the server that the admin
        named."""
        settings = self._settings
        headers = {"User-Agent": "waypost", "Accept": "text/csv, */*;q=0.1", **self._validators}
        if settings.authorization:
            headers["Authorization"] = settings.authorization
        try:
            request = urllib.request.Request(settings.url, headers=headers)
            with ask_web(request, settings.timeout, settings.ca_file) as answer:
                return self._take(answer, into)
        except (WebTrouble, ValueError) as error:
            raise MapUnavailable(str(error)) from None

    def forget(self) -> None:
        """The last map is unusable: the next fetch is unconditional."""
        self._validators = {}

    def _take(self, answer: WebAnswer, into: Path) -> bool:
        if answer.status == http.client.NOT_MODIFIED and self._validators:
            return False
        # 206 is a part of the map, and 201 to 204 are not a map at all (RFC 9110 section 15.3).
        if answer.status != http.client.OK:
            raise MapUnavailable(f"the server answers {answer.status} {http.client.responses.get(answer.status, '')}")
        with into.open("wb") as file:
            for chunk in answer.read_whole(self._settings.most_octets):
                file.write(chunk)
        named = (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified"))
        self._validators = {ours: answer.headers[theirs] for ours, theirs in named if answer.headers[theirs]}
        return True
