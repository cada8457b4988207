"""This very device: installed, rung by notifications, tested; and what it may keep of our pages."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
from litestar import Response, get, post
from litestar.datastructures import Cookie

from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid, RateLimited
from wedsync_apm.incidents import store as incidents
from wedsync_apm.notify.members import store
from wedsync_apm.notify.members.proofs import send_code, send_test
from wedsync_apm.notify.members.targets import Target, read_target
from wedsync_apm.notify.store import contact_secret_place
from wedsync_apm.organizations.vault import Sealed, seal
from wedsync_apm.types import Channel, Role
from wedsync_apm.web import worker
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.phone import build_phone, device_name
from wedsync_apm.web.headers import PAGE_HEADERS, WORKER_HEADERS
from wedsync_apm.web.keeping import keep_headers
from wedsync_apm.web.pages.emergency import card_page, list_kept_cards
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, answer, see, visit, web_of
from wedsync_apm.web.pages.silences import trying
from wedsync_apm.web.session import YEAR_SECONDS, Web, check_form, check_origin
from wedsync_apm.web.words import say as words

COOKIE: Final = "wedsync_phone"
"""The contacts that this browser is: one for each business in which its person has turned it on."""
MOST_CONTACTS: Final = 8
PREFERENCE: Final = 100
"""Its place among the ways to reach its person, as of any other that nobody has put in order."""
MOST_INCIDENTS: Final = 5
SHOWN_TESTS: Final = 5


@get("/phone")
async def phone_page(request: PageRequest) -> Html:
    """Does this phone ring, and how do I get WedSync on it?"""
    async with visit(request) as here:
        return await _page(here)


async def _page(here: Visit, *, problem: str = "", status: int = 200) -> Html:
    contact = await find_phone(here)
    sent: Sequence[Row] = ()
    if contact is not None:
        sent = await store.list_contact_proofs(
            here.cx, here.organization_id, contact["id"], SHOWN_TESTS
        )
    view = build_phone(
        contact,
        sent,
        now=here.at,
        zone=here.zone,
        user_agent=_user_agent(here.request),
        may_turn_on=here.role is not Role.VIEWER,
        is_engineer=here.is_engineer,
        problem=problem,
    )
    return here.page("phone.html", "device", view, status=status)


async def list_phones(here: Visit) -> list[Row]:
    """The reader's contacts that this browser is: one for each business where he turned it on."""
    rows = [await store.find_contact_method(here.cx, one) for one in known_contacts(here.request)]
    return [
        row
        for row in rows
        if row and row["user_id"] == here.subject and row["channel"] == Channel.PUSH
    ]


async def find_phone(here: Visit) -> Row | None:
    """The one of them at the business that he looks at."""
    phones = await list_phones(here)
    return next((one for one in phones if one["organization_id"] == here.organization_id), None)


def known_contacts(request: PageRequest) -> list[UUID]:
    """Those that this browser says it is; what is no id is passed over."""
    found = []
    for text in request.cookies.get(COOKIE, "").split(".")[:MOST_CONTACTS]:
        try:
            found.append(UUID(hex=text))
        except ValueError:
            continue
    return found


def _user_agent(request: PageRequest) -> str:
    return request.headers.get("user-agent", "")[:500]


def phone_cookie(web: Web, contacts: Sequence[UUID]) -> Cookie:
    """Tells this browser which contacts it is."""
    return Cookie(
        key=COOKIE,
        value=".".join(one.hex for one in contacts),
        max_age=YEAR_SECONDS if contacts else 0,
        path="/",
        httponly=True,
        samesite="lax",
        secure=web.is_https,
    )


@post("/phone/push", status_code=200)
async def turn_on(request: PageRequest) -> Html:
    """This browser's subscription becomes a contact of its person; the first notification that it
    shows proves it."""
    sent = await request.form()
    web = web_of(request)
    check_form(web, request, sent)
    given = {name: str(sent.get(name) or "")[:2000] for name in ("url", "p256dh", "auth")}
    async with visit(request) as here:
        if here.role is Role.VIEWER:
            raise Forbidden
        organization_id = here.organization_id
        present = await find_phone(here)
        try:
            target = read_target(Channel.PUSH, "", given)
        except NotValid as exc:
            reason = exc.errors[0].reason if exc.errors else exc.detail
            return await _page(here, problem=words("phone.refused", reason=reason), status=422)
    contact_id = present["id"] if present else uuid4()
    # Outside of the transaction: the sealing has a connection of its own.
    place = contact_secret_place(organization_id, contact_id)
    sealed = await seal(web.pool, web.keyring, place, target.secret)
    async with visit(request, wanted=organization_id) as here:
        if here.organization_id != organization_id:
            raise Forbidden
        await _store(here, present, contact_id, target, sealed)
        try:
            async with trying(here):
                await send_code(here.cx, web.keyring, contact_id)
        except RateLimited:
            return await _page(here, problem=words("phone.enough"), status=429)
    others = [one for one in known_contacts(request) if one != contact_id]
    cookie = phone_cookie(web, [contact_id, *others][:MOST_CONTACTS])
    return see("/phone", said="phone_on", cookies=[cookie])


async def _store(
    here: Visit, present: Row | None, contact_id: UUID, target: Target, sealed: Sealed
) -> None:
    values: dict[str, Any] = {
        "id": contact_id,
        "name": present["name"] if present else device_name(here.name, _user_agent(here.request)),
        "address": target.address,
        "secret_ciphertext": sealed.ciphertext,
        "secret_fingerprint": sealed.fingerprint,
        "preference": present["preference"] if present else PREFERENCE,
    }
    if present is not None:
        await store.update_contact_method(here.cx, {**values, "is_disabled": False})
        return
    owner = {"organization_id": here.organization_id, "user_id": here.subject}
    await store.create_contact_method(here.cx, {**values, **owner, "channel": Channel.PUSH.value})


@post("/phone/push/off", status_code=200)
async def turn_off(request: PageRequest) -> Html:
    """Nothing more goes to this browser."""
    check_form(web_of(request), request, await request.form())
    async with visit(request) as here:
        await switch_off(here)
    return see("/phone", said="phone_off")


async def switch_off(here: Visit) -> None:
    """Switches the reader's contacts that this browser is off: they have one subscription."""
    for row in await list_phones(here):
        await store.update_contact_method(
            here.cx,
            {
                "id": row["id"],
                "name": row["name"],
                "address": None,
                "secret_ciphertext": None,
                "secret_fingerprint": None,
                "preference": row["preference"],
                "is_disabled": True,
            },
        )


@post("/phone/push/renewed", status_code=204)
async def renew(request: PageRequest) -> None:
    """The push service has given this browser another address, and its worker tells us.

    Taken as JSON alone: no page of another site can send that along with the cookie.
    """
    web = web_of(request)
    check_origin(web, request)
    if "origin" not in request.headers or not request.headers.get("content-type", "").startswith(
        "application/json"
    ):
        raise Forbidden
    try:
        said = json.loads(await request.body())
        given = {"url": str(said["endpoint"])[:2000]}
        given |= {name: str(said["keys"][name])[:2000] for name in ("p256dh", "auth")}
    except (ValueError, KeyError, TypeError):
        raise NotValid from None
    target = read_target(Channel.PUSH, "", given)
    async with visit(request) as here:
        phones = await list_phones(here)
    if not phones:
        raise NotFound
    for present in phones:
        place = contact_secret_place(present["organization_id"], present["id"])
        sealed = await seal(web.pool, web.keyring, place, target.secret)
        async with visit(request) as here:
            await _store(here, present, present["id"], target, sealed)
            with suppress(RateLimited):
                async with trying(here):
                    await send_code(here.cx, web.keyring, present["id"])


@post("/phone/test", status_code=200)
async def test_phone(request: PageRequest) -> Html:
    """Sends a notification to this browser, to watch it arrive."""
    check_form(web_of(request), request, await request.form())
    async with visit(request) as here:
        contact = await find_phone(here)
        if contact is None:
            raise NotFound
        try:
            async with trying(here):
                await send_test(here.cx, contact["id"])
        except RateLimited:
            return await _page(here, problem=words("contact.test_enough"), status=429)
        except Conflict:
            return await _page(here, problem=words("contact.off_first"), status=409)
    return see("/phone", said="phone_tested")


@get("/phone/kept")
async def list_kept(request: PageRequest) -> Html:
    """What this device may keep now: today, what is open, the cards of the next two days. What is
    not listed any more is deleted there."""
    async with visit(request) as here:
        live = await incidents.list_live_incidents(here.cx, here.organization_id)
        pages = [
            "/",
            "/incidents",
            *(f"/incidents/{one.id}" for one in live[:MOST_INCIDENTS]),
            *await list_kept_cards(here),
        ]
        headers = {**PAGE_HEADERS, **keep_headers(here.reader, None)}
    body = msgspec.json.encode({"pages": pages})
    return Response(body, media_type="application/json", headers=headers)


@get(worker.PATH)
async def worker_script(request: PageRequest) -> Html:
    """The service worker. Browsers look for a new one whenever a page is opened."""
    return answer(
        request,
        worker.script(),
        headers=WORKER_HEADERS,
        media_type="text/javascript; charset=utf-8",
    )


@get("/offline")
async def offline(request: PageRequest) -> Html:
    """What the worker shows without a signal where nothing was kept."""
    return answer(request, worker.offline_page())


HANDLERS: Final[Sequence[Any]] = (
    phone_page,
    turn_on,
    turn_off,
    renew,
    test_phone,
    list_kept,
    worker_script,
    offline,
    card_page,
)
