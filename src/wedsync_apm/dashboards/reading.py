"""A document as it came from outside: read strictly, with every fault named by its place."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from wedsync_apm.dashboards.model import (
    COLUMNS,
    KINDS,
    MOST_BYTES,
    MOST_PANELS,
    MOST_VARIABLES,
    SCHEMA,
    Document,
    GaugePanel,
    Limit,
    Panel,
    Variable,
    Window,
    figures_in,
)
from wedsync_apm.dashboards.variables import names_in
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.metrics.ranges import name_splits
from wedsync_apm.shapes import field_error

MOST_FAULTS: Final = 100
_DEEPEST: Final = 12
_LAYOUT: Final = ("schema", "time", "panels")
_HEAD: Final = ("schema", "name", "description", "time", "variables", "panels")


def read_document(raw: Any) -> Document:
    """The document in plain lists and mappings. Raises NotValid with all of its faults, up to a
    hundred, each with its path: `panels[3].queries[0].agg`."""
    faults: list[FieldError] = []
    document = _read(raw, faults)
    if document is not None and (size := len(msgspec.json.encode(document))) > MOST_BYTES:
        faults.append(FieldError("", f"has {size} bytes; at most {MOST_BYTES} are possible"))
    if document is None or faults:
        raise NotValid("The dashboard cannot be used as it stands.", errors=faults[:MOST_FAULTS])
    return document


def read_columns(name: str, description: str, layout: Any, variables: Any) -> Document:
    """The same of the columns of a row, and of the API's fields; a layout without a schema is of
    this one. Raises NotValid: older rows may hold anything."""
    inside = dict(layout) if isinstance(layout, Mapping) else {"panels": layout}
    if strange := sorted(str(one) for one in set(inside) - set(_LAYOUT)):
        raise NotValid(
            errors=[FieldError(f"layout.{one[:100]}", "is not a field here") for one in strange]
        )
    raw = {"schema": SCHEMA, "name": name, "description": description, **inside}
    try:
        return read_document(raw | {"variables": variables})
    except NotValid as exc:
        told = [
            FieldError(
                f"layout.{one.field}" if one.field.startswith(_LAYOUT) else one.field, one.reason
            )
            for one in exc.errors
        ]
        raise NotValid(exc.detail, told) from exc


def split(document: Document) -> tuple[dict[str, Any], list[Any]]:
    """The layout and the variables as they are stored: in the document's own order."""
    plain = msgspec.to_builtins(document)
    layout = {key: plain[key] for key in _LAYOUT if key in plain}
    return layout, plain.get("variables", [])


def _read(raw: Any, faults: list[FieldError]) -> Document | None:
    if not isinstance(raw, Mapping):
        faults.append(FieldError("", "must be an object with schema, name and panels"))
        return None
    if fault := _strange_text(raw):
        faults.append(fault)
        return None
    faults.extend(FieldError(one[:100], "is not a field here") for one in raw if one not in _HEAD)
    if (schema := raw.get("schema", "")) != SCHEMA:
        told = f"{str(schema)[:60]!r} is none that this server reads; it reads {SCHEMA}"
        faults.append(FieldError("schema", told if "schema" in raw else "is missing"))
        return None
    time = _convert(raw.get("time", {}), Window, "time", faults)
    variables = _listed(raw, "variables", MOST_VARIABLES, faults, _read_variable)
    panels = _listed(raw, "panels", MOST_PANELS, faults, _read_panel)
    head = {key: raw[key] for key in ("schema", "name", "description") if key in raw}
    document: Document | None = _convert(head, Document, "", faults)
    if document is None or time is None:
        return None
    _check_variables(variables, faults)
    _check_panels(panels, {one.name for _, one in variables}, _metric_choices(variables), faults)
    ordered = sorted((one for _, one in panels), key=lambda one: (one.at.y, one.at.x, one.key))
    return msgspec.structs.replace(
        document, time=time, variables=tuple(one for _, one in variables), panels=tuple(ordered)
    )


def _convert(raw: Any, kind: Any, path: str, faults: list[FieldError]) -> Any:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as exc:
        found = field_error(str(exc), kind)
        inside = "" if found.field == "body" else found.field
        faults.append(FieldError(_at(path, inside), found.reason))
        return None


def _at(path: str, inside: str) -> str:
    dot = "." if path and inside and not inside.startswith("[") else ""
    return f"{path}{dot}{inside}"


def _listed(
    raw: Mapping[str, Any], name: str, most: int, faults: list[FieldError], read: Any
) -> list[tuple[int, Any]]:
    """The parts of a list that could be read, each with its place."""
    rows = raw.get(name, [])
    if not isinstance(rows, list | tuple):
        faults.append(FieldError(name, "must be a list"))
        return []
    if len(rows) > most:
        faults.append(FieldError(name, f"has {len(rows)} entries; at most {most} are possible"))
        return []
    found = [(place, read(row, f"{name}[{place}]", faults)) for place, row in enumerate(rows)]
    return [(place, one) for place, one in found if one is not None]


def _read_variable(raw: Any, path: str, faults: list[FieldError]) -> Variable | None:
    found: Variable | None = _convert(raw, Variable, path, faults)
    return found


def _read_panel(raw: Any, path: str, faults: list[FieldError]) -> Panel | None:
    kind = raw.get("kind") if isinstance(raw, Mapping) else None
    if isinstance(raw, Mapping) and (not isinstance(kind, str) or kind not in KINDS):
        given = f"{str(kind)[:40]!r} is none of" if "kind" in raw else "is missing; it is one of"
        faults.append(FieldError(f"{path}.kind", f"{given} {', '.join(KINDS)}"))
        return None
    found: Panel | None = _convert(raw, KINDS[kind] if kind else Panel, path, faults)
    return found


def _metric_choices(variables: Sequence[tuple[int, Variable]]) -> set[str]:
    """The variables that can stand in a metric's name: never empty, and told beforehand."""
    return {one.name for _, one in variables if one.values and all(one.values)}


def _check_variables(variables: Sequence[tuple[int, Variable]], faults: list[FieldError]) -> None:
    seen: set[str] = set()
    for place, one in variables:
        path = f"variables[{place}]"
        if one.name in seen:
            faults.append(FieldError(f"{path}.name", f"{one.name!r} is there twice"))
        seen.add(one.name)
        if bool(one.values) == bool(one.tag):
            faults.append(FieldError(path, "needs either values or a tag"))
        elif one.values and one.default not in one.values:
            faults.append(FieldError(f"{path}.default", "must be one of its values"))


def _check_panels(
    panels: Sequence[tuple[int, Panel]],
    known: set[str],
    choices: set[str],
    faults: list[FieldError],
) -> None:
    taken: dict[tuple[int, int], str] = {}
    keys: set[str] = set()
    for place, one in panels:
        path = f"panels[{place}]"
        if one.key in keys:
            faults.append(FieldError(f"{path}.key", f"{one.key!r} is there twice"))
        keys.add(one.key)
        at = one.at
        if at.x + at.w > COLUMNS:
            reason = f"reaches beyond the {COLUMNS} columns: x and w make {at.x + at.w}"
            faults.append(FieldError(f"{path}.at", reason))
        else:
            cells = [(x, y) for x in range(at.x, at.x + at.w) for y in range(at.y, at.y + at.h)]
            if under := next((taken[cell] for cell in cells if cell in taken), None):
                faults.append(FieldError(f"{path}.at", f"lies over the panel {under!r}"))
            taken.update(dict.fromkeys(cells, one.key))
        faults.extend(_faults_of(one, path, known, choices))


def _faults_of(panel: Panel, path: str, known: set[str], choices: set[str]) -> Iterator[FieldError]:
    if isinstance(panel, GaugePanel) and not panel.least < panel.most:
        yield FieldError(f"{path}.most", "must be more than least")
    limits: tuple[Limit, ...] = getattr(panel, "limits", ())
    numbers = [(f"limits[{n}].value", one.value) for n, one in enumerate(limits)]
    if isinstance(panel, GaugePanel):
        numbers += [("least", panel.least), ("most", panel.most)]
    for name, number in numbers:
        if not math.isfinite(number) or abs(number) > 1e300:
            yield FieldError(f"{path}.{name}", "must be a finite number")
    is_list = hasattr(panel, "queries")
    for n, figure in enumerate(figures_in(panel)):
        where = f"{path}.queries[{n}]" if is_list else f"{path}.query"
        asked = names_in(figure.metric)
        for name in sorted(asked - choices):
            reason = "must have values, none of them empty" if name in known else "is no variable"
            yield FieldError(f"{where}.metric", f"${name} {reason}")
        if not asked and not name_splits_of(figure.metric):
            yield FieldError(f"{where}.metric", "is written service.metric")
        for tag, value in figure.tags.items():
            for name in sorted(names_in(value) - known):
                yield FieldError(f"{where}.tags.{tag}", f"${name} is no variable")


def name_splits_of(metric: str) -> bool:
    """Whether a text can name a metric."""
    try:
        return bool(name_splits(metric))
    except NotValid:
        return False


def _strange_text(raw: Any) -> FieldError | None:
    """The first text that cannot be stored or shown, or what is nested too deeply."""
    waiting: list[tuple[str, Any, int]] = [("", raw, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if depth > _DEEPEST:
            return FieldError(path[:200], "is nested too deeply")
        if isinstance(value, str) and not all(map(_is_sound, value)):
            return FieldError(path[:200], "has a character that cannot be kept")
        if isinstance(value, Mapping):
            for key, one in value.items():
                if not isinstance(key, str) or not all(map(_is_sound, key)):
                    return FieldError(path[:200], "has a field whose name is no plain text")
                waiting.append((_at(path, key), one, depth + 1))
        elif isinstance(value, list | tuple):
            waiting.extend((f"{path}[{n}]", one, depth + 1) for n, one in enumerate(value))
    return None


def _is_sound(letter: str) -> bool:
    """No control character but a new line or a tab, and no half of a pair."""
    code = ord(letter)
    is_control = code < 32 or 127 <= code < 160
    return (not is_control or letter in "\n\t") and not 0xD800 <= code < 0xE000
