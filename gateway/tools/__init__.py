"""The command line's tools: each shows people and programs what the gateway knows or would do.

In: a stored story, queue entries, or a message file with its circumstances; never a socket or a spool, which `app`
passes in. Out: rich renderables for people, plain values for JSON. Imported by `app` and `cli`. No verdict is made
here: the tools call the functions of the live path.

    simulate.py   one message file or a batch, judged without sending
    rehearsal.py  the mail transaction behind it, without consequences
    explain.py    the story of one stored message
    narrative.py  a trace in plain words
    attempts.py   the attempts to deliver a message
    results.py    results and decisions as JSON, alike in every tool; FILE arguments and their line ends
    queue.py      waiting mail, held mail and failed recipients
    senders.py    the sources that write as us
    replay.py     past messages under other rules
    rule_sets.py  the rules in force
    trials.py     the rules' examples
    keys.py       the DKIM keys that sign outgoing mail
    users.py      the file of logins
"""
