"""Documents: every fault by its place, and the same file for the same dashboard."""

import copy
import json
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.dashboards.files import JSON, YAML, read_file, write_json, write_yaml
from wedsync_apm.dashboards.model import (
    COLUMNS,
    KINDS,
    MOST_PANELS,
    SCHEMA,
    Document,
    schema_of_documents,
)
from wedsync_apm.dashboards.reading import read_columns, read_document, split
from wedsync_apm.dashboards.templates import templates, templates_for
from wedsync_apm.errors import MalformedBody, NotValid, TooLarge
from wedsync_apm.metrics.ranges import Aggregation

STAT: Final[dict[str, Any]] = {
    "kind": "stat",
    "key": "orders",
    "title": "Orders",
    "at": {"x": 0, "y": 0, "w": 3, "h": 2},
    "query": {"metric": "forms.submit_time", "agg": "p95"},
}


def a_document(*panels: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schema": SCHEMA, "name": "Saturday", "panels": list(panels), **more}


def changed(**more: Any) -> dict[str, Any]:
    return copy.deepcopy(STAT) | more


def faults_of(raw: Any) -> dict[str, str]:
    with pytest.raises(NotValid) as refused:
        read_document(raw)
    return {one.field: one.reason for one in refused.value.errors}


SERIES: Final = {
    "kind": "series",
    "queries": [{"metric": "forms.submit_time", "agg": "p95"}],
    "key": "course",
    "title": "Course",
    "at": {"x": 0, "y": 0, "w": 6, "h": 4},
}


@pytest.mark.parametrize(
    ("raw", "path", "reason"),
    [
        ([], "", "must be an object"),
        ({"name": "x"}, "schema", "is missing"),
        (a_document(schema="wedsync.dashboard/2"), "schema", "none that this server reads"),
        (a_document(colour="red"), "colour", "is not a field here"),
        (a_document(name=""), "name", "length >= 1"),
        (a_document(panels={}), "panels", "must be a list"),
        (a_document(time={"span": "2h"}), "time.span", "none of 15m, 1h, 6h, 24h, 7d, 30d"),
        (a_document({"key": "a"}), "panels[0].kind", "is missing; it is one of series"),
        (a_document(changed(kind="pie")), "panels[0].kind", "'pie' is none of series, stat"),
        (a_document(changed(key="Orders")), "panels[0].key", "regex"),
        (a_document(changed(colour="red")), "panels[0].colour", "is not a field here"),
        (
            a_document(SERIES | {"queries": [{"metric": "a.b", "agg": "mean"}]}),
            "panels[0].queries[0].agg",
            "'mean' is none of avg, min, max",
        ),
        (
            a_document(SERIES | {"queries": [{"metric": "a.b"}]}),
            "panels[0].queries[0].agg",
            "is missing",
        ),
        (
            a_document(changed(query={"metric": "nodots", "agg": "p95"})),
            "panels[0].query.metric",
            "is written service.metric",
        ),
        (
            a_document(changed(query={"metric": "$service.time", "agg": "p95"})),
            "panels[0].query.metric",
            "$service is no variable",
        ),
        (
            a_document(changed(at={"x": 10, "y": 0, "w": 3, "h": 2})),
            "panels[0].at",
            "reaches beyond the 12 columns",
        ),
        (
            a_document(STAT, changed(key="others", at={"x": 2, "y": 1, "w": 2, "h": 1})),
            "panels[1].at",
            "lies over the panel 'orders'",
        ),
        (
            a_document(STAT, changed(at={"x": 3, "y": 0, "w": 2, "h": 1})),
            "panels[1].key",
            "'orders' is there twice",
        ),
        (a_document(changed(title="a\x00b")), "panels[0].title", "cannot be kept"),
        (a_document(changed(title="a\ud800b")), "panels[0].title", "cannot be kept"),
        (
            a_document(changed(kind="gauge", least=5, most=5)),
            "panels[0].most",
            "must be more than least",
        ),
        (
            a_document(changed(limits=[{"value": 1e301}])),
            "panels[0].limits[0].value",
            "must be a finite number",
        ),
        (a_document(variables=[{"name": "region"}]), "variables[0]", "either values or a tag"),
        (
            a_document(variables=[{"name": "region", "values": ["eu"]}]),
            "variables[0].default",
            "must be one of its values",
        ),
        (
            a_document(variables=[{"name": "r", "tag": "r"}, {"name": "r", "tag": "s"}]),
            "variables[1].name",
            "'r' is there twice",
        ),
        (
            a_document(*[STAT] * (MOST_PANELS + 1)),
            "panels",
            f"has {MOST_PANELS + 1} entries; at most {MOST_PANELS}",
        ),
    ],
)
def test_a_fault_is_named_by_its_place(raw: Any, path: str, reason: str) -> None:
    faults = faults_of(raw)
    assert path in faults
    assert reason in faults[path]


def test_all_faults_are_told_at_once() -> None:
    faults = faults_of(
        a_document(
            changed(key="A"),
            SERIES | {"queries": [{"metric": "a.b", "agg": "mean"}]},
            {"kind": "text", "key": "t", "title": "", "text": "", "at": STAT["at"]},
            time={"span": "2h"},
        )
    )
    assert set(faults) == {
        "time.span",
        "panels[0].key",
        "panels[1].queries[0].agg",
        "panels[2].title",
    }


def test_the_faults_of_columns_say_in_which_they_are() -> None:
    with pytest.raises(NotValid) as refused:
        read_columns("x", "", {"panels": [changed(key="A")], "time": {"span": ""}}, [{}])
    paths = [one.field for one in refused.value.errors]
    assert paths == ["layout.time.span", "variables[0].name", "layout.panels[0].key"]
    with pytest.raises(NotValid) as refused:
        read_columns("x", "", {"panels": [], "variables": []}, [])
    assert [one.field for one in refused.value.errors] == ["layout.variables"]


def test_an_empty_layout_is_a_document() -> None:
    assert read_columns("x", "", {"panels": []}, []).panels == ()


def test_panels_stand_in_the_order_of_the_grid() -> None:
    right = changed(key="right", at={"x": 3, "y": 0, "w": 3, "h": 2})
    below = changed(key="below", at={"x": 0, "y": 2, "w": 3, "h": 2})
    document = read_document(a_document(below, right, STAT))
    assert [one.key for one in document.panels] == ["orders", "right", "below"]


LETTERS: Final = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])
WORDS: Final = st.text(LETTERS, min_size=1, max_size=20)
LINES: Final = st.text(LETTERS | st.sampled_from("\n\t"), max_size=200)
NUMBERS: Final = st.floats(-1e12, 1e12, allow_nan=False) | st.integers(-(10**9), 10**9)
FIGURES: Final = st.fixed_dictionaries(
    {"metric": st.just("forms.submit_time"), "agg": st.sampled_from([*Aggregation])},
    optional={"tags": st.dictionaries(WORDS, WORDS.map(lambda t: t.replace("$", "€")), max_size=3)},
)
LIMITS: Final = st.lists(
    st.fixed_dictionaries(
        {"value": NUMBERS},
        optional={"when": st.sampled_from(["above", "below"]), "label": WORDS},
    ),
    max_size=3,
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    panels = []
    for place in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["stat", "text", "series", "countdown", "incidents"]))
        panel: dict[str, Any] = {
            "kind": kind,
            "key": f"p{place}",
            "title": draw(WORDS),
            "note": draw(LINES),
            "at": {"x": draw(st.integers(0, 6)), "y": place * 3, "w": 6, "h": 3},
        }
        if kind == "stat":
            panel |= {"query": draw(FIGURES), "limits": draw(LIMITS)}
        elif kind == "series":
            panel |= {"queries": draw(st.lists(FIGURES, min_size=1, max_size=3))}
            panel |= {"style": draw(st.sampled_from(["line", "area", "bar"]))}
        elif kind == "text":
            panel["text"] = draw(LINES)
        panels.append(panel)
    return {
        "schema": SCHEMA,
        "name": draw(WORDS),
        "description": draw(LINES),
        "time": {"span": draw(st.sampled_from(["15m", "24h", "30d"]))},
        "variables": [{"name": "v", "values": ["", "no", "1", "null"], "default": "no"}],
        "panels": panels,
    }


@given(documents())
def test_a_file_gives_back_what_was_written_in_either_form(raw: dict[str, Any]) -> None:
    document = read_document(raw)
    as_json, as_yaml = write_json(document), write_yaml(document)
    assert read_file(as_json.encode(), JSON) == document
    assert read_file(as_yaml.encode(), YAML) == document
    again = read_file(as_yaml.encode(), YAML)
    assert (write_json(again), write_yaml(again)) == (as_json, as_yaml)
    layout, variables = split(document)
    stored = json.loads(json.dumps({"layout": layout, "variables": variables}))
    assert read_columns(document.name, document.description, **stored) == document


@given(
    st.recursive(
        st.none() | st.booleans() | NUMBERS | LINES,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "schema",
                        "name",
                        "panels",
                        "kind",
                        "at",
                        "key",
                        "query",
                        "queries",
                        "title",
                        "x",
                        "metric",
                        "time",
                        "variables",
                    ]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=30,
    )
)
def test_whatever_comes_is_read_or_refused_in_words(raw: Any) -> None:
    if isinstance(raw, dict):
        raw = raw | {"schema": SCHEMA}
    try:
        read_document(raw)
    except NotValid as exc:
        refused: NotValid | None = exc
    else:
        refused = None
    assert refused is None or all(one.reason for one in refused.errors)
    assert refused is None or refused.errors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [x]\nb: *a", "anchor or an alias"),
        ("a: [b", "is no YAML in line"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
        ("[" * 60 + "]" * 60, "nested too deeply"),
        ("a: 1\n---\nb: 2", "is no YAML"),
        ("{a: 1, ? [b] : 2}", "is no YAML"),
    ],
)
def test_yaml_that_is_more_than_values_is_refused(text: str, words: str) -> None:
    with pytest.raises(MalformedBody, match=words):
        read_file(text.encode(), YAML)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_json_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_file(body, JSON)


def test_a_file_of_ten_megabytes_is_not_read() -> None:
    with pytest.raises(TooLarge):
        read_file(b" " * 10_000_000, YAML)


def test_yaml_has_the_values_of_json() -> None:
    raw = a_document(changed(title="no", note="12:30"))
    text = write_yaml(read_document(raw)).replace("'no'", "no").replace("'12:30'", "12:30")
    panel = read_file(text.encode(), YAML).panels[0]
    assert (panel.title, panel.note) == ("no", "12:30")


@pytest.mark.parametrize("key", list(templates()))
def test_a_template_is_written_as_it_is_exported(key: str) -> None:
    document = templates()[key]
    assert read_file(write_yaml(document).encode(), YAML) == document
    cells = sum(one.at.w * one.at.h for one in document.panels)
    last = max(one.at.y + one.at.h for one in document.panels)
    assert cells == COLUMNS * last, "the grid has a hole"


def test_each_trade_has_its_own_template_first() -> None:
    assert templates_for("Photography") == ("photographer", "wedding-day", "couples")
    assert templates_for("platform") == ("platform",)
    assert templates_for("stationery") == ("wedding-day", "couples")
    every = {
        key
        for trade in ("photographer", "venue", "caterer", "florist", "dj", "planner", "platform")
        for key in templates_for(trade)
    }
    assert every == set(templates())


def test_the_schema_names_every_kind_of_panel() -> None:
    written = json.dumps(schema_of_documents())
    assert all(f'"{kind}"' in written for kind in KINDS)
    assert msgspec.json.schema(Document)["$ref"].endswith("Document")
