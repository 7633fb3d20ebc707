"""Address maps from web servers."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from gateway.config.directories import MapUnavailable
from gateway.config.recipients import HttpMap

_CHUNK = 65_536


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
        """Raises MapUnavailable for any answer but 200 and 304, for one that is too long or slow, and for none."""
        settings = self._settings
        deadline = time.monotonic() + settings.timeout
        headers = {"User-Agent": "waypost", "Accept": "text/csv, */*;q=0.1", **self._validators}
        if settings.authorization:
            headers["Authorization"] = settings.authorization
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
            opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), NoRedirect)
            request = urllib.request.Request(settings.url, headers=headers)
            with opener.open(request, timeout=settings.timeout) as answer:
                self._save(answer, into, deadline)
                named = (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified"))
                self._validators = {ours: answer.headers[theirs] for ours, theirs in named if answer.headers[theirs]}
        except urllib.error.HTTPError as error:
            with error:
                if error.code == http.client.NOT_MODIFIED:
                    return False
            raise MapUnavailable(f"the server answers {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise MapUnavailable(str(error) or type(error).__name__) from None
        return True

    def forget(self) -> None:
        """What was written last is of no use: the next fetch is unconditional."""
        self._validators = {}

    def _save(self, answer: http.client.HTTPResponse, into: Path, deadline: float) -> None:
        octets = 0
        with into.open("wb") as file:
            while chunk := answer.read1(_CHUNK):
                octets += len(chunk)
                if octets > self._settings.most_octets:
                    raise MapUnavailable(f"it has more than {self._settings.most_octets} octets (most_octets)")
                if time.monotonic() > deadline:
                    raise MapUnavailable(f"it takes longer than {self._settings.timeout:g} s (timeout)")
                file.write(chunk)
        if answer.length:
            raise MapUnavailable("the answer ended too early")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A request is for the server that the admin named, with what it carries, and for no other."""

    def redirect_request(self, *arguments: object) -> None:
        return None
