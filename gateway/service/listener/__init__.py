"""SMTP listeners: the protocol on the wire, without any decision about mail.

In: octets of clients, PROXY headers of balancers. Out: calls to a `Conversation` of its `Reception`, and the replies of
that. The listener guards the order of commands, reads paths and parameters, frames content, and enforces limits of
size, time, commands, errors and connections. `session` is the one module that knows aiosmtpd. Imported by `app` and the
demo; knows the ports, the configuration's limits and `mail`.
"""

from gateway.service.listener.connection_limits import ConnectionLimits
from gateway.service.listener.listener_state import EXTENSIONS, ListenerSettings
from gateway.service.listener.server import SmtpListener, bind_socket, serve

__all__ = ["EXTENSIONS", "ConnectionLimits", "ListenerSettings", "SmtpListener", "bind_socket", "serve"]
