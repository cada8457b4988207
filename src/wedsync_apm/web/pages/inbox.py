"""The inbox: every message as it was sent."""

from litestar import get

from wedsync_apm.types import Channel
from wedsync_apm.web.build.inbox import build_message
from wedsync_apm.web.pages.frame import Html, PageRequest, visit
from wedsync_apm.web.pages.gather import read_contact_names, read_deliveries
from wedsync_apm.web.pages.silences import read_waiting
from wedsync_apm.web.views.chart import Option
from wedsync_apm.web.views.inbox import InboxView
from wedsync_apm.web.words import say as words


@get("/inbox")
async def inbox_page(request: PageRequest) -> Html:
    """The newest messages, of all channels or of one."""
    async with visit(request) as here:
        rows = await read_deliveries(here.cx, here.organization_id)
        contacts = await read_contact_names(here.cx, here.organization_id, here.subject)
        used = [one.value for one in Channel if any(row["channel"] == one.value for row in rows)]
        wanted = request.query_params.get("channel", "")
        channels = (
            Option(words("inbox.all"), "/inbox", wanted not in used),
            *(
                Option(words(f"channel.{name}"), f"/inbox?channel={name}", wanted == name)
                for name in used
            ),
        )
        messages = tuple(
            build_message(
                row,
                here.zone,
                is_own=row["contact_method_id"] in contacts.mine,
                is_engineer=here.is_engineer,
            )
            for row in rows
            if wanted not in used or row["channel"] == wanted
        )
        view = InboxView(messages, channels, waiting=await read_waiting(here))
        return here.page("inbox.html", "inbox", view)
