"""Address maps from web servers."""

from __future__ import annotations

import http.client
import urllib.request
from pathlib import Path

from gateway.config.directories import MapUnavailable
from gateway.config.recipients import HttpMap
from gateway.net.bounded import WebAnswer, WebTrouble, ask_web


class HttpSource:
    """A `MapSource`: one GET of a CSV file, conditional after the first one."""

    def __init__(self, settings: HttpMap) -> None:
        self._settings = settings
        self._validators: dict[str, str] = {}
        """What the server said by which it can tell that nothing has changed (RFC 9110 section 13.1)."""

    @property
    def name(self) -> str:
        return self._settings.name

    def fetch(self, into: Path) -> bool:
        """Raises MapUnavailable for any answer but 200 and 304, for one that is too long, too slow or not known to be
        whole, and for none. A redirect is not followed: the Authorization is for the server that the admin named."""
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
        """What was written last is of no use: the next fetch is unconditional."""
        self._validators = {}

    def _take(self, answer: WebAnswer, into: Path) -> bool:
        if answer.status == http.client.NOT_MODIFIED and self._validators:
            return False
        # 206 is a part of the map, and 201 to 204 are no map at all (RFC 9110 section 15.3).
        if answer.status != http.client.OK:
            raise MapUnavailable(f"the server answers {answer.status} {http.client.responses.get(answer.status, '')}")
        with into.open("wb") as file:
            for chunk in answer.read_whole(self._settings.most_octets):
                file.write(chunk)
        named = (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified"))
        self._validators = {ours: answer.headers[theirs] for ours, theirs in named if answer.headers[theirs]}
        return True
