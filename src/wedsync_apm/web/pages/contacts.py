"""How people are reached: contacts, the code that proves one, tests, and quiet hours."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid, RateLimited
from wedsync_apm.notify.members import store
from wedsync_apm.notify.members.callbacks import HEARERS, callback_address
from wedsync_apm.notify.members.proofs import check_said, give_code, send_code, send_test
from wedsync_apm.types import Role
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.contacts import (
    build_proofs,
    build_row,
    build_ways,
    code_until,
    day_choices,
    moved_up,
    next_words,
    off_words,
    quiet_form,
    quiet_words,
    read_quiet,
    verdict_of,
)
from wedsync_apm.web.build.people import People
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.people import read_contacts, read_people
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.contacts import (
    ContactRow,
    ContactsView,
    ContactView,
    QuietForm,
)
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.words import say as words

MANAGERS: Final = (Role.OWNER, Role.ADMIN)
SHOWN_PROOFS: Final = 5
LAST: Final = 100
"""Of a person's contacts a new one is the last, as the database has it."""
CALLED_BACK: Final = frozenset({one.value for one in HEARERS})


@get("/contacts")
async def contacts_page(request: PageRequest) -> Html:
    """Where messages go, and whether they arrive."""
    async with visit(request) as here:
        rows = await read_contacts(here)
        people = await read_people(here, rows)
        own = [row for row in rows if row["user_id"] == here.subject]
        own.sort(key=lambda row: (row["preference"], row["created_at"]))
        may_see = here.role is not Role.VIEWER
        verdict, headline, body = verdict_of(own)
        if not may_see:
            headline, body = words("contacts.viewer"), words("contacts.viewer_body")
            verdict = Status("none", headline)
        may_add = may_see
        team: tuple[ContactRow, ...] | None = None
        if here.role in MANAGERS:
            others = [row for row in rows if row["user_id"] != here.subject]
            team = tuple([await _row(here, row, people) for row in others])
        view = ContactsView(
            verdict=verdict,
            headline=headline,
            body=body,
            own=tuple([await _row(here, row, people) for row in own]),
            team=team,
            may_add=may_add,
            may_see=may_see,
            refusal="" if may_add else _whom_to_ask(people),
        )
        return here.page("contacts.html", "contacts", view)


async def _row(here: Visit, row: Row, people: People) -> ContactRow:
    quiet = await store.find_quiet_hours(here.cx, row["id"])
    return build_row(row, quiet, people, here.subject, here.zone)


def _whom_to_ask(people: People) -> str:
    return words("contacts.ask", name=people.owner) if people.owner else words("contacts.ask_none")


async def _find(here: Visit, contact_id: UUID) -> Row:
    row = await store.find_contact_method(here.cx, contact_id)
    if row is None or row["organization_id"] != here.organization_id:
        # a viewer sees no contact at all, and changes none
        if here.role is Role.VIEWER and here.request.method == "POST":
            raise Forbidden
        raise NotFound
    return row


async def _find_mine(here: Visit, contact_id: UUID) -> Row:
    """A contact that the reader may prove, test and keep quiet."""
    row = await _find(here, contact_id)
    await store.check_may_manage(here.cx, contact_id)
    return row


async def _find_to_administer(here: Visit, contact_id: UUID) -> Row:
    row = await _find(here, contact_id)
    if here.role not in MANAGERS:
        raise Forbidden
    return row


async def contact_view(here: Visit, row: Row, form: QuietForm | None = None) -> ContactView:
    """One contact with all that its page shows; `form` as typed where it has a fault."""
    people = await read_people(here, await read_contacts(here))
    quiet = await store.find_quiet_hours(here.cx, row["id"])
    proofs = await store.list_contact_proofs(here.cx, here.organization_id, row["id"], SHOWN_PROOFS)
    may_administer = here.role in MANAGERS
    may_manage = may_administer or row["user_id"] == here.subject
    refusal = ""
    if not may_manage:
        refusal = (
            words("contact.read_only", name=people.name(row["user_id"]))
            if row["user_id"]
            else words("contact.read_only_shared")
        )
    return ContactView(
        row=build_row(row, quiet, people, here.subject, here.zone),
        off=off_words(row, here.zone),
        is_on=row["disabled_at"] is None,
        is_proven=row["verified_at"] is not None,
        code_until=code_until(row, proofs, here.at),
        proofs=build_proofs(proofs, is_engineer=here.is_engineer),
        quiet=quiet_words(quiet),
        quiet_next=next_words(quiet, here.at, here.zone),
        has_quiet=bool(quiet["start"]),
        form=form or quiet_form(quiet, here.zone),
        days=day_choices(),
        may_manage=may_manage,
        may_administer=may_administer,
        refusal=refusal,
        ways=build_ways(await store.list_contacts_beside(here.cx, row["id"]), row["id"]),
        hears=row["channel"] if may_administer and row["channel"] in CALLED_BACK else "",
    )


def show_contact(here: Visit, view: ContactView, status: int = 200) -> Html:
    """The page of one contact."""
    return here.page("contact.html", "contacts", view, status=status)


@get("/contacts/{contact_id:uuid}")
async def contact_page(request: PageRequest, contact_id: FromPath[UUID]) -> Html:
    """One contact: does it arrive, and when is it quiet."""
    async with visit(request) as here:
        return show_contact(here, await contact_view(here, await _find(here, contact_id)))


@get("/contacts/{contact_id:uuid}/callback")
async def callback_page(request: PageRequest, contact_id: FromPath[UUID]) -> Html:
    """The same with the address at which another system tells what people do there."""
    async with visit(request) as here:
        row = await _find_to_administer(here, contact_id)
        organization_id = here.organization_id
        if row["channel"] not in CALLED_BACK:
            raise NotFound
    # Outside of his transaction: what is sealed is opened by the API's own login.
    web = web_of(request)
    async with web.pool.connection() as cx:
        address = await callback_address(cx, web.keyring, web.settings.base_url, contact_id)
    async with visit(request, wanted=organization_id) as here:
        view = await contact_view(here, await _find_to_administer(here, contact_id))
        return show_contact(here, replace(view, callback=address))


@post("/contacts/{contact_id:uuid}/earlier", status_code=200)
async def try_earlier(request: PageRequest, contact_id: FromPath[UUID]) -> Html:
    """Tries it before the one that stood above it."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    try:
        above, back = UUID(str(sent.get("above"))), UUID(str(sent.get("back")))
    except ValueError:
        raise NotFound from None
    async with visit(request) as here:
        await _find_mine(here, contact_id)
        ids = [row["id"] for row in await store.list_contacts_beside(here.cx, contact_id)]
        moved = moved_up(ids, contact_id, above)
        if moved != ids:
            await store.order_contacts(here.cx, moved)
    return see(f"/contacts/{back}", said="contact_order")


@post("/contacts/{contact_id:uuid}/code", status_code=200)
async def start_proof(request: PageRequest, contact_id: FromPath[UUID]) -> Html:
    """Sends six digits; the ones before are void."""
    return await _send(request, contact_id, is_test=False)


@post("/contacts/{contact_id:uuid}/test", status_code=200)
async def test_contact(request: PageRequest, contact_id: FromPath[UUID]) -> Html:
    """Sends a test message."""
    return await _send(request, contact_id, is_test=True)


async def _send(request: PageRequest, contact_id: UUID, *, is_test: bool) -> Html:
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        row = await _find_mine(here, contact_id)
        try:
            async with trying(here):
                if is_test:
                    await send_test(here.cx, contact_id)
                else:
                    await send_code(here.cx, here.web.keyring, contact_id)
        except RateLimited:
            problem = words("contact.test_enough" if is_test else "contact.code_enough")
            return show_contact(here, replace(await contact_view(here, row), problem=problem), 429)
        except Conflict:
            problem = words("contact.off_first")
            return show_contact(here, replace(await contact_view(here, row), problem=problem), 409)
        except NotValid:
            problem = words("contact.form.only")
            return show_contact(here, replace(await contact_view(here, row), problem=problem), 422)
    return see(f"/contacts/{contact_id}", said="contact_test" if is_test else "contact_code")


_REFUSALS: Final = {
    NotValid: "contact.code_wrong",
    RateLimited: "contact.code_used_up",
    Conflict: "contact.code_old",
}


@post("/contacts/{contact_id:uuid}/verify", status_code=200)
async def prove_contact(request: PageRequest, contact_id: FromPath[UUID]) -> Html:
    """Takes the code that came. A wrong one counts, so that the page is the answer to it."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    code = "".join(str(sent.get("code") or "").split())[:20]
    async with visit(request) as here:
        row = await _find_mine(here, contact_id)
        error = "" if len(code) == 6 and code.isdecimal() and code.isascii() else (
            words("contact.code_shape")
        )  # fmt: skip
        if not error:
            try:
                async with trying(here):
                    said = await give_code(here.cx, here.web.keyring, contact_id, code)
                check_said(said)
            except (NotValid, RateLimited, Conflict) as exc:
                error = words("contact.off_first" if row["disabled_at"] else _REFUSALS[type(exc)])
        if error:
            return show_contact(here, replace(await contact_view(here, row), code_error=error), 422)
    return see(f"/contacts/{contact_id}", said="contact_proven")


@post("/contacts/{contact_id:uuid}/quiet", status_code=200)
async def set_quiet(request: PageRequest, contact_id: FromPath[UUID]) -> Html:
    """Sets the quiet hours; a fault is shown beside its field with everything kept as typed."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        row = await _find_mine(here, contact_id)
        form = read_quiet(sent)
        if not form.errors:
            try:
                async with trying(here):
                    await store.set_quiet_hours(
                        here.cx,
                        contact_id,
                        start=form.start,
                        end=form.end,
                        time_zone=form.time_zone,
                        weekdays=form.weekdays,
                    )
                return see(f"/contacts/{contact_id}", said="quiet_saved")
            except NotValid:
                # the database knows fewer zones than we do
                form = replace(form, errors={"time_zone": words("contact.quiet_no_zone")})
        return show_contact(here, await contact_view(here, row, form), 422)


@post("/contacts/{contact_id:uuid}/quiet/clear", status_code=200)
async def clear_quiet(request: PageRequest, contact_id: FromPath[UUID]) -> Html:
    """No quiet hours; what they held back goes out."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        await _find_mine(here, contact_id)
        await store.clear_quiet_hours(here.cx, contact_id)
    return see(f"/contacts/{contact_id}", said="quiet_cleared")


@post(["/contacts/{contact_id:uuid}/off", "/contacts/{contact_id:uuid}/on"], status_code=200)
async def switch_contact(request: PageRequest, contact_id: FromPath[UUID]) -> Html:
    """Sends nothing to it, or again."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    is_off = request.url.path.endswith("/off")
    async with visit(request) as here:
        row = await _find_to_administer(here, contact_id)
        await store.update_contact_method(
            here.cx,
            {
                "id": contact_id,
                "name": row["name"],
                "address": None,
                "secret_ciphertext": None,
                "secret_fingerprint": None,
                "preference": row["preference"],
                "is_disabled": is_off,
            },
        )
    return see(f"/contacts/{contact_id}", said="contact_off" if is_off else "contact_on")


@post("/contacts/{contact_id:uuid}/delete", status_code=200)
async def delete_contact(request: PageRequest, contact_id: FromPath[UUID]) -> Html:
    """Gone; every ladder goes on without it."""
    sent = await request.form()
    check_form(web_of(request), request, sent)
    async with visit(request) as here:
        await _find_to_administer(here, contact_id)
        if not await store.delete_contact_method(here.cx, contact_id):
            raise Forbidden
    return see("/contacts", said="contact_removed")


HANDLERS: Final[Sequence[Any]] = (
    contacts_page,
    contact_page,
    callback_page,
    try_earlier,
    start_proof,
    test_contact,
    prove_contact,
    set_quiet,
    clear_quiet,
    switch_contact,
    delete_contact,
)
