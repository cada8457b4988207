"""The five routes that most nouns have, made from one description of the noun.

List, make, read, change and delete differ between nouns in their types and statements and in
nothing else: paging, the choice of the organization, idempotency, and which of 403 and 404 is the
answer are decided here once.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, Union, get_type_hints
from uuid import UUID

import msgspec
from litestar import delete, get, patch, post
from litestar.handlers import HTTPRouteHandler

from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Id,
    Limit,
    Organization,
    Page,
    body_of,
    earlier_answer,
    one_organization,
    page_of,
    read_cursor,
    remember_answer,
    shape,
    visible_organizations,
)
from wedsync_apm.db.nouns import Noun
from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import Forbidden, NotFound, NotValid
from wedsync_apm.shapes import field_error

In = TypeVar("In", bound=msgspec.Struct)
Out = TypeVar("Out", bound=msgspec.Struct)
Values = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource(Generic[In, Out]):
    """A noun of the API: its path, its types, its statements."""

    path: str
    one: str
    """What people call one of it: "health check"."""
    noun: Noun
    input: type[In]
    output: type[Out]
    to_values: Callable[[In], Values] = msgspec.to_builtins
    """What is written to the database of a checked input."""
    verify: Callable[[ApiRequest, Any], Awaitable[None]] | None = None
    """Looks beyond the input, or the changes, before any transaction begins; raises NotValid."""

    @property
    def name(self) -> str:
        """`HealthCheck`, for names in the documentation."""
        return self.output.__name__


def partial_of(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The type of a PATCH: every field of `kind` may be left out, and none has a default."""
    hints = get_type_hints(kind, include_extras=True)
    fields = [
        (f.name, Union[hints[f.name], msgspec.UnsetType], msgspec.UNSET)  # noqa: UP007
        for f in msgspec.structs.fields(kind)
    ]
    return msgspec.defstruct(
        kind.__name__.removesuffix("Input") + "Changes",
        fields,
        kw_only=True,
        forbid_unknown_fields=True,
        module=kind.__module__,
    )


def merge(kind: type[In], present: msgspec.Struct, changes: msgspec.Struct) -> tuple[In, set[str]]:
    """What `present` becomes with `changes`, checked as a whole, and which fields those are.

    Raises NotValid for what does not fit together.
    """
    changed = msgspec.to_builtins(changes)
    names = {f.name for f in msgspec.structs.fields(kind)}
    whole = {k: v for k, v in msgspec.to_builtins(present).items() if k in names} | changed
    try:
        return msgspec.convert(whole, kind), set(changed)
    except msgspec.ValidationError as exc:
        raise NotValid(errors=[field_error(str(exc), kind)]) from exc


async def refuse(cx: Connection, noun: Noun, row_id: UUID, one: str) -> Exception:
    """Why nothing was changed: it is not there for the caller, or he may only look at it."""
    if await noun.find_row(cx, row_id) is None:
        return NotFound(f"There is no such {one}.")
    return Forbidden(f"Only an owner or admin may change a {one}.")


def routes(resource: Resource[Any, Any]) -> list[HTTPRouteHandler]:
    """List and make at the path, read, change and delete at path/{id}."""
    changes_type = partial_of(resource.input)
    tags = [resource.path.rsplit("/", 1)[-1]]

    async def list_rows(
        request: ApiRequest,
        organization_id: Organization = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Any:
        place = read_cursor(cursor)
        async with request.tenant() as cx:
            rows = await resource.noun.list_rows(
                cx,
                organization_ids=await visible_organizations(cx, organization_id),
                before=(place.at, place.id) if place else None,
                limit=limit + 1,
            )
        return page_of(resource.output, rows, limit)

    async def create_row(
        request: ApiRequest, data: Any, organization_id: Organization = None
    ) -> Any:
        if resource.verify is not None:
            await resource.verify(request, data)
        async with request.tenant() as cx:
            owner = await one_organization(cx, organization_id)
            earlier, request_hash = await earlier_answer(cx, request, owner)
            if earlier is not None:
                return msgspec.convert(earlier.body, resource.output)
            row = await resource.noun.create_row(
                cx,
                organization_id=owner,
                created_by=request.identity.subject,
                values=resource.to_values(data),
            )
            made = shape(resource.output, row)
            await remember_answer(cx, request, owner, request_hash, made)
        return made

    async def read_row(request: ApiRequest, id: Id) -> Any:
        async with request.tenant() as cx:
            row = await resource.noun.find_row(cx, id)
        if row is None:
            raise NotFound(f"There is no such {resource.one}.")
        return shape(resource.output, row)

    async def change_row(request: ApiRequest, id: Id, data: Any) -> Any:
        if resource.verify is not None:
            await resource.verify(request, data)
        async with request.tenant() as cx:
            present = await resource.noun.find_row(cx, id)
            if present is None:
                raise NotFound(f"There is no such {resource.one}.")
            whole, changed = merge(resource.input, shape(resource.output, present), data)
            values = {k: v for k, v in resource.to_values(whole).items() if k in changed}
            row = await resource.noun.update_row(cx, id, values)
            if row is None:
                raise await refuse(cx, resource.noun, id, resource.one)
        return shape(resource.output, row)

    async def delete_row(request: ApiRequest, id: Id) -> None:
        async with request.tenant() as cx:
            if not await resource.noun.delete_row(cx, id):
                raise await refuse(cx, resource.noun, id, resource.one)

    def described(function: Any, verb: str, types: Mapping[str, Any]) -> Any:
        function.__annotations__.update(types)
        function.__doc__ = f"{verb} {resource.one}."
        return function

    page = Page[resource.output]  # type: ignore[name-defined]
    with_id, name = resource.path + "/{id:uuid}", resource.name
    return [
        get(resource.path, tags=tags, operation_id=f"list{name}s")(
            described(list_rows, "List every", {"return": page})
        ),
        post(resource.path, tags=tags, operation_id=f"create{name}")(
            described(
                create_row, "Make a", {"data": body_of(resource.input), "return": resource.output}
            )
        ),
        get(with_id, tags=tags, operation_id=f"read{name}")(
            described(read_row, "Read a", {"return": resource.output})
        ),
        patch(with_id, tags=tags, operation_id=f"change{name}")(
            described(
                change_row,
                "Change some of a",
                {"data": body_of(changes_type), "return": resource.output},
            )
        ),
        delete(with_id, tags=tags, operation_id=f"delete{name}")(
            described(delete_row, "Delete a", {})
        ),
    ]
