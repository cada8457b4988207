"""The form of a new contact."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID, uuid4

from litestar import get, post

from wedsync_apm.errors import Conflict, Forbidden, NotValid
from wedsync_apm.notify.members import store
from wedsync_apm.notify.members.targets import Target, read_target
from wedsync_apm.notify.store import contact_secret_place
from wedsync_apm.organizations.vault import Sealed, seal
from wedsync_apm.types import Channel, Role
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.contacts import channel_choices, given_of, read_contact, refused
from wedsync_apm.web.build.people import People
from wedsync_apm.web.pages.contacts import LAST, MANAGERS, contact_view, show_contact
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.pages.people import read_contacts, read_people
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.contacts import ContactForm, ContactFormView
from wedsync_apm.web.words import say as words


def _form_page(here: Visit, form: ContactForm, people: People, status: int = 200) -> Html:
    choices: tuple[tuple[str, str], ...] = ()
    if here.role in MANAGERS:
        choices = tuple((str(user_id), name) for user_id, name in people.names.items())
    view = ContactFormView(form, channel_choices(), choices)
    return here.page("contact_form.html", "contacts", view, status=status)


@get("/contacts/new")
async def new_contact_page(request: PageRequest) -> Html:
    """The form of a contact, for its reader at first."""
    async with visit(request) as here:
        if here.role is Role.VIEWER:
            raise Forbidden
        people = await read_people(here, await read_contacts(here))
        return _form_page(here, ContactForm(whose=str(here.subject)), people)


@post("/contacts/new", status_code=200)
async def make_contact(request: PageRequest) -> Html:
    """A new contact. A webhook's key stands in this answer and nowhere else ever."""
    sent = await request.form()
    web = web_of(request)
    check_form(web, request, sent)
    contact_id = uuid4()
    async with visit(request) as here:
        if here.role is Role.VIEWER:
            raise Forbidden
        organization_id = here.organization_id
        people = await read_people(here, await read_contacts(here))
        form = read_contact(sent, people)
        if here.role not in MANAGERS:
            # a member keeps his own contacts, whatever was sent
            if form.whose not in ("", str(here.subject)):
                raise Forbidden
            form = replace(form, whose=str(here.subject))
        target = Target("")
        if not form.errors:
            try:
                target = read_target(Channel(form.channel), form.address, given_of(form))
            except NotValid as exc:
                form = refused(form, exc)
        if form.errors:
            return _form_page(here, form, people, 422)
    # Outside of his transaction: the sealing has a connection of its own.
    place = contact_secret_place(organization_id, contact_id)
    sealed = await seal(web.pool, web.keyring, place, target.secret)
    async with visit(request, wanted=organization_id) as here:
        if here.organization_id != organization_id:
            raise Forbidden
        try:
            async with trying(here):
                row = await _create(here, contact_id, form, target, sealed)
        except Conflict:
            taken = {"name": words("contact.form.taken")}
            return _form_page(here, replace(form, errors=taken), people, 422)
        if target.made_key is None:
            return see(f"/contacts/{contact_id}", said="contact_made")
        return show_contact(here, replace(await contact_view(here, row), key=target.made_key))


async def _create(
    here: Visit, contact_id: UUID, form: ContactForm, target: Target, sealed: Sealed
) -> Row:
    return await store.create_contact_method(
        here.cx,
        {
            "id": contact_id,
            "organization_id": here.organization_id,
            "user_id": UUID(form.whose) if form.whose else None,
            "name": form.name,
            "channel": form.channel,
            "address": target.address,
            "secret_ciphertext": sealed.ciphertext,
            "secret_fingerprint": sealed.fingerprint,
            "preference": LAST,
        },
    )


HANDLERS: Final[Sequence[Any]] = (new_contact_page, make_contact)
