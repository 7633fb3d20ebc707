"""Verifiers that are programs: Mail::DKIM (Perl), opendkim as a milter, rspamd over HTTP.

Each asks the DNS server of a test by real packets, and answers as verify.mjs does: {"id", "dkim": [{"result",
"selector", "reason"}], "arc", "spf"}. Debian has them as libmail-dkim-perl, opendkim and rspamd; what is missing is
told by `missing`.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

Case: TypeAlias = Mapping[str, Any]
Answers: TypeAlias = dict[str, dict[str, Any]]

HERE = Path(__file__).resolve().parent
PATH = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
PACKAGES = {"Mail::DKIM": "libmail-dkim-perl", "opendkim": "opendkim", "rspamd": "rspamd"}


def missing(name: str) -> str:
    """Why this one cannot be asked here; empty when it can."""
    if name == "Mail::DKIM":
        tried = ["perl", "-MMail::DKIM::ARC::Verifier", "-e1"]
        there = shutil.which("perl") and subprocess.run(tried, capture_output=True).returncode == 0
    else:
        there = shutil.which(name, path=PATH)
    return "" if there else f"{name} is not installed (Debian: {PACKAGES[name]})"


def ask_mail_dkim(cases: Iterable[Case], dns_port: int) -> Answers:
    lines = [json.dumps({"id": one["id"], "message": base64.b64encode(one["message"]).decode()}) for one in cases]
    done = subprocess.run(
        ["perl", HERE / "maildkim.pl", str(dns_port)],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60 + len(lines),
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert len(answers) == len(lines), done.stderr
    return {one["id"]: one for one in answers}


# opendkim

OPENDKIM = """
Mode v
Socket local:{root}/socket
Background no
Syslog no
UMask 000
AuthservID peer.example
AlwaysAddARHeader yes
On-Default accept
MaximumSignaturesToVerify 10
ResolverConfiguration {root}/unbound.conf
"""
UNBOUND = """
server:
    module-config: "iterator"
    do-not-query-localhost: no
    cache-max-ttl: 0
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{dns_port}
"""
LEADING_BLANKS = 0x100000
"""SMFIP_HDR_LEADSPC: values of fields come with the white space before them."""


class Milter:
    """The client's side of the milter protocol, as far as a verifier needs it."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._write(b"O", struct.pack("!III", 6, 0x1FF, LEADING_BLANKS))
        self._read()
        self._ask(b"C", b"client.example\x004" + struct.pack("!H", 25) + b"192.0.2.1\0")
        self._ask(b"H", b"client.example\0")

    def close(self) -> None:
        self._socket.close()

    def send(self, header: Iterable[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
        """The fields that it adds to a message; none when it lets the message go without a look at the body."""
        pieces = [body[start : start + 65535] for start in range(0, len(body), 65535)]
        steps = [(b"M", b"<ann@src.example>\0"), (b"R", b"<bob@dst.example>\0"), (b"T", b"")]
        steps += [(b"L", name + b"\0" + value + b"\0") for name, value in header]
        for code, data in [*steps, (b"N", b""), *((b"B", piece) for piece in pieces)]:
            if not self._ask(code, data):
                return []
        self._write(b"E", b"")
        added = []
        while True:
            code, data = self._read()
            if code in (b"h", b"i"):
                name, value = data[4 if code == b"i" else 0 :].rstrip(b"\0").split(b"\0")
                added.append((name, value))
            elif code != b"p":
                assert code in (b"c", b"a"), (code, data)
                return added

    def _ask(self, code: bytes, data: bytes) -> bool:
        """Whether it wants to see more of the message."""
        self._write(code, data)
        answer = self._read()
        assert answer[0] in (b"c", b"a"), (code, data, answer)
        return answer[0] == b"c"

    def _write(self, code: bytes, data: bytes) -> None:
        self._socket.sendall(struct.pack("!I", 1 + len(data)) + code + data)

    def _read(self) -> tuple[bytes, bytes]:
        size = struct.unpack("!I", self._take(4))[0]
        packet = self._take(size)
        return packet[:1], packet[1:]

    def _take(self, size: int) -> bytes:
        octets = b""
        while len(octets) < size:
            more = self._socket.recv(size - len(octets))
            assert more, "the milter hung up"
            octets += more
        return octets


def split_as_mta(message: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """A message as an MTA hands it to a milter: line breaks within fields are LF, and the header ends before the first
    line that is no field."""
    header: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(message):
        end = message.find(b"\r\n", at)
        end = len(message) if end < 0 else end
        line = message[at:end]
        if not line:
            return header, message[end + 2 :]
        if line[:1] in b" \t" and header:
            header[-1] = (header[-1][0], header[-1][1] + b"\n" + line)
        elif re.match(rb"[!-9;-~]+[ \t]*:", line):
            name, _, value = line.partition(b":")
            header.append((name, value))
        else:
            return header, message[at:]
        at = end + 2
    return header, b""


def ask_opendkim(cases: Iterable[Case], dns_port: int) -> Answers:
    with tempfile.TemporaryDirectory(prefix="waypost-opendkim-") as name:
        root = Path(name)
        (root / "opendkim.conf").write_text(OPENDKIM.format(root=root))
        (root / "unbound.conf").write_text(UNBOUND.format(dns_port=dns_port))
        command = [shutil.which("opendkim", path=PATH), "-f", "-x", root / "opendkim.conf"]
        with running(command, root / "log", partial(listens, root / "socket")):
            milter = Milter(root / "socket")
            answers = {one["id"]: _read_results(milter.send(*split_as_mta(one["message"]))) for one in cases}
            milter.close()
    return answers


METHOD = re.compile(r"dkim=(\w+)(?:\s+reason=\"([^\"]*)\")?(?:\s+\(([^()]*)\))?([^;]*)")


def _read_results(added: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    signatures = []
    for name, value in added:
        text = value.decode("latin-1").replace("\n", " ").replace("\r", "")
        for word, reason, note, properties in METHOD.findall(text if name == b"Authentication-Results" else ""):
            selector = re.search(r"header\.s=\"?([^\s\";]*)", properties)
            if word != "none":
                said = f"{word} {reason or note}".strip()
                signatures.append({"result": word, "selector": selector[1] if selector else "", "reason": said})
    return {"dkim": signatures}


# rspamd

RSPAMD = """
options {{
    pidfile = "{root}/rspamd.pid";
    temp_dir = "{root}";
    hs_cache_dir = "{root}";
    history_file = "{root}/history";
    url_tld = "{root}/suffixes";
    local_addrs = ["127.0.0.0/8"];
    filters = "dkim";
    disable_hyperscan = true;
    dns {{ nameserver = ["127.0.0.1:{dns_port}"]; timeout = 3s; retransmits = 3; }}
}}
logging {{ type = "file"; filename = "{root}/rspamd.log"; level = "warning"; }}
worker "normal" {{ bind_socket = "{root}/socket mode=0666"; count = 1; }}
metric "default" {{ actions {{ reject = 1000; add_header = 900; greylist = null; }} }}
modules {{ path = "/usr/share/rspamd/plugins/spf.lua"; path = "/usr/share/rspamd/plugins/arc.lua"; }}
spf {{ enabled = true; }}
dkim {{ enabled = true; max_sigs = 10; }}
arc {{ enabled = true; }}
"""
DKIM_SYMBOLS = {
    "R_DKIM_ALLOW": "pass",
    "R_DKIM_REJECT": "fail",
    "R_DKIM_PERMFAIL": "permerror",
    "R_DKIM_TEMPFAIL": "temperror",
}
SPF_SYMBOLS = {
    "R_SPF_ALLOW": "pass",
    "R_SPF_FAIL": "fail",
    "R_SPF_SOFTFAIL": "softfail",
    "R_SPF_NEUTRAL": "neutral",
    "R_SPF_NA": "none",
    "R_SPF_PERMFAIL": "permerror",
    "R_SPF_DNSFAIL": "temperror",
}
ARC_SYMBOLS = {"ARC_ALLOW": "pass", "ARC_REJECT": "fail", "ARC_INVALID": "fail", "ARC_DNSFAIL": "temperror"}


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


def ask_rspamd(cases: Iterable[Case], dns_port: int) -> Answers:
    with tempfile.TemporaryDirectory(prefix="waypost-rspamd-") as name:
        root = Path(name)
        root.chmod(0o777)
        # It compiles a pattern of all suffixes, which takes half a minute with the public list.
        (root / "suffixes").write_text("example\ncom\n")
        (root / "rspamd.conf").write_text(RSPAMD.format(root=root, dns_port=dns_port))
        command = [shutil.which("rspamd", path=PATH), "-f", "-c", root / "rspamd.conf"]
        command += ["-u", "_rspamd", "-g", "_rspamd"] if os.geteuid() == 0 else []
        with running(command, root / "log", partial(listens, root / "socket")):
            return {one["id"]: _ask_rspamd(root / "socket", one) for one in cases}


def _ask_rspamd(path: Path, case: Case) -> dict[str, Any]:
    connection = UnixConnection(path)
    given = {"IP": case["ip"], "Helo": case["helo"], "From": f"<{case['sender']}>", "Rcpt": "<bob@dst.example>"}
    connection.request("POST", "/checkv2", case["message"], given)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    symbols = answer.get("symbols", {})
    signatures = [
        {"result": word, "selector": option.partition("s=")[2].partition(":")[0], "reason": f"{word} {option}"}
        for symbol, word in DKIM_SYMBOLS.items()
        for option in symbols.get(symbol, {}).get("options", [])
    ]
    said = [option for symbol in SPF_SYMBOLS for option in symbols.get(symbol, {}).get("options", [])]
    return {
        "dkim": signatures,
        "arc": _first(ARC_SYMBOLS, symbols, "none"),
        "spf": _first(SPF_SYMBOLS, symbols, "?"),
        "spf_reason": " ".join(said),
    }


def _first(words: Mapping[str, str], symbols: Mapping[str, Any], otherwise: str) -> str:
    return next((word for symbol, word in words.items() if symbol in symbols), otherwise)


def listens(path: Path) -> bool:
    """Something accepts connections at this socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@contextmanager
def running(command: list[Any], log: Path, ready: Callable[[], bool], seconds: float = 30) -> Iterator[None]:
    """A program for as long as the block runs."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + seconds
        while not ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)
