"""An admin's access to the running gateway: metrics and health over HTTP, commands through the control socket.

In: the observer's registry, two questions about the gateway, one request a line. Out: HTTP, one answer a line. The same
commands run without the socket when no gateway runs. Importable by `app` and `cli`.
"""
