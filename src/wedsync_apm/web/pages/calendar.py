"""The coming weeks: who is on call by each rota, with the weddings drawn in."""

from litestar import get

from wedsync_apm.escalation.schedules import store
from wedsync_apm.web.build.coming import WEEKS, build_week, weeks_from
from wedsync_apm.web.build.on_call import turn_of
from wedsync_apm.web.build.weeks import WEEK, read_week
from wedsync_apm.web.pages.frame import Html, PageRequest, visit
from wedsync_apm.web.pages.on_call import MOST, read_feasts, reader_of
from wedsync_apm.web.pages.people import read_contacts, read_people
from wedsync_apm.web.views.ladder import CalendarRota, CalendarView


@get("/on-call/calendar")
async def calendar_page(request: PageRequest) -> Html:
    """Five weeks of each rota from this one on."""
    async with visit(request) as here:
        first = read_week(None, here.at, here.zone)
        reader = reader_of(here, await read_people(here, await read_contacts(here)))
        schedules = await store.SCHEDULES.list_rows(
            here.cx, organization_ids=[here.organization_id], before=None, limit=MOST
        )
        feasts = await read_feasts(here, first, weeks=WEEKS) if schedules else []
        rotas: list[CalendarRota] = []
        for schedule in sorted(schedules, key=lambda row: row["name"].casefold()):
            rows = await store.list_shifts(
                here.cx, schedule["id"], first.begins - WEEK, first.ends + WEEKS * WEEK
            )
            turns = [turn_of(row) for row in rows]
            weeks = tuple(build_week(turns, feasts, week, reader) for week in weeks_from(first))
            rotas.append(CalendarRota(schedule["name"], weeks))
        return here.page("calendar.html", "oncall", CalendarView(tuple(rotas)))
