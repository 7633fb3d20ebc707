"""The services: they own the loop and the order of steps, and know the outside only through ports.

In: commands and octets from listeners, time from the clock. Out: replies, commits, settlements, events. Nothing here
imports `spool` or `net`: `app` passes the adapters in.
"""
