"""A real Postfix and a real Exim, each an instance of its own: below one directory, on a free port of 127.0.0.1.

Mail for p.example and x.example is written to a Maildir, one file a message; mail for other domains goes
where `routes` says. Debian's two packages exclude each other: Postfix is installed, Exim is unpacked by `.ci/exim`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

from tests.support.gateway_process import free_port, wait_for_port

EXIM = os.environ.get("WAYPOST_EXIM", "/opt/waypost-exim/usr/sbin/exim4")
POSTFIX = shutil.which("postfix", path="/usr/sbin:/usr/local/sbin")


def missing() -> str:
    """The reason why these tests cannot run here; empty when they can."""
    if os.geteuid() != 0:
        return "needs root"
    if POSTFIX is None:
        return "postfix is not installed"
    return "" if Path(EXIM).exists() else f"no Exim at {EXIM}: run .ci/exim"


@dataclass
class Mta:
    """A running instance."""

    name: str
    port: int
    root: Path

    @property
    def box(self) -> Path:
        return self.root / "box"

    def messages(self) -> list[bytes]:
        """The delivered messages."""
        return [path.read_bytes() for path in sorted((self.box / "new").glob("*"))]

    def wait(self, count: int, seconds: float = 30.0) -> list[bytes]:
        """Wait until this many messages have been delivered, and then a moment for a surplus one."""
        end = time.monotonic() + seconds
        while len(self.messages()) < count:
            assert time.monotonic() < end, f"{self.name}: {len(self.messages())} messages, not {count}\n{self.log()}"
            time.sleep(0.1)
        time.sleep(0.5)
        return self.messages()

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.root.glob("log*") if path.is_file())[-3000:]


def return_path(message: bytes) -> str:
    return str(message_from_bytes(message)["Return-Path"] or "").strip("<> ")


@contextmanager
def _directory() -> Iterator[Path]:
    # Not below pytest's own directory: the daemons' users must be able to enter.
    with tempfile.TemporaryDirectory(prefix="waypost-mta-") as name:
        root = Path(name)
        root.chmod(0o755)
        yield root


POSTFIX_MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.peer.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
virtual_mailbox_domains = p.example
virtual_mailbox_base = {root}
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
message_size_limit = 0
mailbox_size_limit = 0
smtpd_recipient_limit = 2000
smtpd_peername_lookup = no
transport_maps = inline:{{ {routes} }}
smtp_bind_address = {source}
smtp_host_lookup = native
smtp_tls_security_level = {tls}
smtp_tls_wrappermode = {wrapped}
smtputf8_enable = yes
maillog_file = {root}/log
maillog_file_prefixes = {root}
{more}
"""
POSTFIX_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


@contextmanager
def run_postfix(
    routes: Mapping[str, int] | None = None,
    tls: str = "none",
    wrapped: bool = False,
    source: str = "127.0.0.1",
    more: str = "",
) -> Iterator[Mta]:
    """`routes`: domains that are sent on, each with its port on 127.0.0.1, from the address `source`. `tls`: none, may
    or encrypt; `wrapped`: implicit TLS. `more`: further settings."""
    with _directory() as root:
        for part in ("etc", "queue", "data", "box"):
            (root / part).mkdir()
        owner = pwd.getpwnam("postfix")
        for part in ("data", "box"):
            os.chown(root / part, owner.pw_uid, owner.pw_gid)
        mta = Mta("postfix", free_port(), root)
        values = {
            "root": root,
            "port": mta.port,
            "uid": owner.pw_uid,
            "gid": owner.pw_gid,
            "routes": ", ".join(
                f"{{ {name} = smtp:[127.0.0.1]:{port} }}" for name, port in (routes or {"none.example": 9}).items()
            ),
            "source": source,
            "tls": tls,
            "wrapped": "yes" if wrapped else "no",
            "more": more,
        }
        (root / "etc" / "main.cf").write_text(POSTFIX_MAIN.format(**values))
        (root / "etc" / "master.cf").write_text(POSTFIX_MASTER.format(**values))
        assert POSTFIX is not None
        command = [POSTFIX, "-c", str(root / "etc")]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([*command, "start-fg"], **quiet)
        try:
            wait_for_port(mta.port)
            yield mta
        finally:
            subprocess.run([*command, "stop"], **quiet, timeout=30, check=False)
            process.wait(30)


EXIM_CONFIG = """
primary_hostname = exim.peer.example
exim_user = Debian-exim
exim_group = Debian-exim
exim_path = {exim}
spool_directory = {root}/spool
log_file_path = {root}/log%slog
pid_file_path = {root}/spool/pid
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
tls_advertise_hosts =
keep_environment =
host_lookup =
rfc1413_hosts =
smtp_accept_max = 0
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
message_size_limit = 100M
pipelining_advertise_hosts = *
chunking_advertise_hosts = *
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
accept_8bitmime = true
deliver_drop_privilege = true
never_users =
acl_smtp_helo = accept
acl_smtp_rcpt = {rcpt}
acl_smtp_data = accept
acl_smtp_dkim = accept

{more}
begin routers
here:
  driver = accept
  domains = x.example
  transport = box
hop:
  driver = manualroute
  transport = hop
  route_list = {routes}
  self = send

begin transports
box:
  driver = appendfile
  directory = {root}/box
  maildir_format
  maildir_use_size_file = false
  envelope_to_add
  return_path_add
  user = Debian-exim
  group = Debian-exim
hop:
  driver = smtp
  interface = {source}
  protocol = {protocol}
  hosts_avoid_tls = {avoid}
  hosts_require_tls = {require}
  tls_verify_hosts =
  tls_try_verify_hosts =
  hosts_try_chunking = *
  allow_localhost

begin retry
* * F,1h,1s
"""


@contextmanager
def run_exim(
    routes: Mapping[str, int] | None = None,
    tls: str = "none",
    wrapped: bool = False,
    source: str = "127.0.0.1",
    acl: str = "",
) -> Iterator[Mta]:
    """The same as `run_postfix`, for x.example. `acl`: the answer to each recipient; all are accepted when empty."""
    with _directory() as root:
        owner = pwd.getpwnam("Debian-exim")
        for part in ("spool", "box"):
            (root / part).mkdir()
            os.chown(root / part, owner.pw_uid, owner.pw_gid)
        os.chown(root, owner.pw_uid, owner.pw_gid)
        mta = Mta("exim", free_port(), root)
        config = EXIM_CONFIG.format(
            exim=EXIM,
            root=root,
            port=mta.port,
            routes=" ; ".join(
                f"{name} 127.0.0.1::{port} byname" for name, port in (routes or {"none.example": 9}).items()
            ),
            source=source,
            rcpt="rcpt" if acl else "accept",
            more=f"begin acl\nrcpt:\n{acl}" if acl else "",
            protocol="smtps" if wrapped else "smtp",
            avoid="*" if tls == "none" else "",
            require="*" if tls == "encrypt" and not wrapped else "",
        )
        path = root / "exim.conf"
        path.write_text(config)
        with (root / "log.out").open("w") as output:
            command = [EXIM, "-C", str(path), "-bdf", "-q1m"]
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_for_port(mta.port)
            yield mta
        finally:
            process.terminate()
            process.wait(30)
