"""The output of `waypost bounce` for incident 1, as text and as JSON."""

from __future__ import annotations

from rich.console import Console

from gateway.diagnosis.bounce import Bounce, bounce_json, read_handed, render_bounce
from gateway.tools.results import Newlines
from tests.support.bounces import SAMPLES

EXPECTED = """\
Bounce by AM9PR05MB7777.eurprd05.prod.outlook.com

bob@corp.example: failed
  Google refused what Microsoft handed on.
  The receiver judged the message behind a relay. There only the author's unbroken DKIM signature can still pass, and \
it is missing or was broken on the way. (dmarc)
  The reply: 550 5.7.1 Unauthenticated email from author.example is not accepted due to domain's DMARC policy. Please \
contact the administrator of author.example domain if this was a legitimate mail. To learn about the DMARC initiative, \
go to https://support.google.com/mail/?p=DmarcRejection b76-20020a - gsmtp
  Around it: 550 5.7.23 The message was rejected because of Sender Policy Framework violation
  Administrator: Find what changed the message: `waypost autopsy` on the returned copy names it. Then stop the \
relay from changing mail, or list the relay at the receiver as a gateway whose mail is not checked again.
  Sender: Your message was refused between two systems of the recipient. Tell their postmaster, and quote the \
innermost reply. If your mail carries no DKIM signature, ask your own administrator to have it signed.
  Not this: Do not change your SPF record, and do not add the relay (such as spf.protection.outlook.com) to it: that \
cannot make this pass, and it lets every customer of that provider send in your name.
"""


def test_incident_1_word_for_word() -> None:
    bounce = read_handed(SAMPLES[0].text.replace("\n", "\r\n").encode())
    assert isinstance(bounce, Bounce)
    console = Console(width=100, soft_wrap=True, highlight=False)
    with console.capture() as shown:
        console.print(render_bounce(bounce, Newlines.CRLF))
    assert shown.get() == EXPECTED
    tree = bounce_json(bounce, Newlines.CRLF)
    assert tree["form"] == "dsn"
    assert isinstance(tree["recipients"], list)
    assert isinstance(tree["recipients"][0], dict)
    assert isinstance(tree["recipients"][0]["refusal"], dict)
    assert tree["recipients"][0]["refusal"]["cause"] == "dmarc"
    assert tree["recipients"][0]["refusal"]["refused"] == "microsoft"
