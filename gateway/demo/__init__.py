"""The demo: a whole mail system on one machine, with nothing configured and nothing outside `var/demo` touched.

In: a directory and a port. Out: a gateway with two stand-in backends in processes of their own, a test CA, a DNS zone;
and `send-sample`, which sends messages through it and checks the results. Imported by `cli` alone; knows the
gateway as its users do, by configuration file and SMTP, and builds its stand-ins on the gateway's own listener.

    run.py         `waypost demo`
    sample.py      `waypost send-sample`: sends the messages, and checks what arrived
    messages.py    the sample messages, and their signature
    supervisor.py  starts and stops the processes
    standin.py     one stand-in backend: a process
    settings.py    the gateway's configuration file
    zone.py        the DNS zone
    authority.py   the test CA and its certificates
    layout.py      where everything is, and the state that `send-sample` reads
"""
