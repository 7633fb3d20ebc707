"""What an admin asks about held mail, as commands of the control socket."""

from __future__ import annotations

from gateway.admin.control import Arguments, Commands
from gateway.service.held_mail import HeldMail, NotHeld
from gateway.tools.results import Json


def hold_commands(held_mail: HeldMail) -> Commands:
    """Each takes `id` and `by`, and answers why nothing was done, or null. A message that another shard holds is none
    of this one's, so that is no refusal."""

    async def release(arguments: Arguments) -> Json:
        try:
            await held_mail.release(str(arguments.get("id")), str(arguments.get("by")))
        except NotHeld as error:
            return str(error)
        return None

    async def delete(arguments: Arguments) -> Json:
        try:
            await held_mail.delete(str(arguments.get("id")), str(arguments.get("by")))
        except NotHeld as error:
            return str(error)
        return None

    return {"hold release": release, "hold delete": delete}
