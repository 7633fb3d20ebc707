"""The network: adapters that implement the ports with real DNS, SMTP and time.

In: questions, claims and content from the services, through the Protocols of `gateway.ports`. Out: answers, outcomes,
the time of day. Input from outside is bounded here in size, number and seconds, and a failure of the network is a
value, not an exception. `resolver` is the only file that imports dnspython, `smtp_backend` the only one that imports
aiosmtplib. Importable by `app` and `demo` alone; the services know the ports only. Does not import `spool`.
"""
