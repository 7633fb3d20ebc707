"""The command line's tools: each shows people and programs what the gateway knows or would do.

In: a stored story, queue entries, or a message file with its circumstances; never a socket or a spool, which `app`
hands in. Out: rich renderables for people, plain values for JSON. Imported by `app` and `cli`. No verdict is made here:
the tools call what the live path calls.

    simulate.py   one message file or a batch, judged without sending
    rehearsal.py  the mail transaction behind it, with nobody listening
    explain.py    the story of one stored message
    narrative.py  a trace in plain words; attempts.py what was tried to deliver it
    results.py    results and decisions as JSON, alike in every tool
    queue.py      what waits
    failures.py   who did not get what
    holding.py    what a rule keeps back
    senders.py    who writes as us
    replay.py     past messages under other rules
    lawbook.py    the rules in force
    trials.py     the rules' examples
    keys.py       the DKIM keys that outgoing mail is signed with
    users.py      the file of logins
    autopsy/      what was done to a signed message on its way
    bounce.py     who refused a message and why
    feedback.py   what a receiver complains of (ARF)
    spf.py        what an SPF record comes to
    dmarc.py      what a DMARC record comes to, and the next step; dmarc_survey.py finds what DNS says
    dmarc_report.py  an aggregate report; report_files.py what it comes in
    dkim.py       a published key
    headers/      what a message's header says about its way
    newlines.py   FILE arguments and their line ends
    text.py       sections and moments, shown alike in every tool
"""
