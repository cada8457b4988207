"""Rules over HTTP: every kind, preview, explain, rules to begin with; and who may."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.api.alerts import AlertInput
from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.model import GRADES, PHASES, Baseline, RuleKind
from wedsync_apm.rules.selectors import Match

NOW = datetime.now(UTC).replace(microsecond=0)
RULE: dict[str, Any] = {
    "alert_name": "Slow",
    "metric_pattern": "forms.*",
    "comparison_operator": ">",
    "threshold_value": 500,
    "aggregation": "last",
    "wedding_day_override": False,
}
KINDS: list[dict[str, Any]] = [
    RULE
    | {
        "tag_selectors": [
            {"tag": "region", "match": "in", "values": ["north", "south"]},
            {"tag": "test", "match": "absent", "values": []},
        ],
        "group_by": ["region"],
        "keep_firing_for": "2m",
        "stale_policy": "alert",
        "wedding_factors": {"evening_before": 0.9},
        "wedding_thresholds": {"ceremony": 250},
        "flap_changes": 6,
        "flap_window": "30m",
        "opens_incident": False,
    },
    RULE
    | {
        "rule_kind": "ratio",
        "denominator_pattern": "forms.requests",
        "denominator_selectors": [{"tag": "kind", "match": "!=", "values": ["probe"]}],
        "group_by": [],
    },
    RULE
    | {
        "rule_kind": "burn_rate",
        "denominator_pattern": "forms.requests",
        "aggregation": "increase",
        "objective": 0.999,
        "evaluation_window": "3d",
        "short_window": "6h",
    },
    RULE | {"rule_kind": "change", "baseline": "last_wedding", "baseline_weeks": 2},
    RULE | {"rule_kind": "deadline", "evaluation_window": "6h", "horizon": "4h"},
]
FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"rule_kind": "ratio"}, "denominator_pattern"),
    ({"rule_kind": "burn_rate", "denominator_pattern": "a.b"}, "objective"),
    ({"rule_kind": "change"}, "baseline"),
    ({"rule_kind": "composite"}, "metric_pattern"),
    ({"tag_selectors": [{"tag": "a", "match": "=", "values": []}]}, "tag_selectors[0]"),
    ({"wedding_factors": {"full_moon": 0.5}}, "wedding_factors"),
    ({"wedding_factors": {"window": 2}}, "wedding_factors"),
    ({"wedding_thresholds": {"ceremony": 1e308}}, "wedding_thresholds"),
    ({"wedding_day_threshold_value": -1.1e300}, "wedding_day_threshold_value"),
    ({"threshold_value": 1e301}, "threshold_value"),
    ({"rule_kind": "deadline", "wedding_factors": {"window": 0.5}}, "wedding_factors"),
    ({"group_by": ["a", "a"]}, "group_by"),
    ({"flap_changes": 2}, "flap_changes"),
    ({"keep_firing_for": "2d"}, "keep_firing_for"),
    ({"evaluation_window": "2d"}, "evaluation_window"),
    ({"metric_pattern": ""}, "metric_pattern"),
]


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


def add_samples(database: Database, organization_id: Any, values: dict[float, float]) -> None:
    """Of `forms.time`, by seconds before now."""
    with psycopg.connect(database.owner, autocommit=True) as owner:
        for ago, value in values.items():
            owner.execute(
                "insert into public.apm_samples (organization_id, service_name, metric_name, "
                "metric_value, tags, \"timestamp\") values (%s, 'forms', 'time', %s, '{}', %s)",
                (organization_id, value, NOW - timedelta(seconds=ago)),
            )


async def test_each_kind_is_kept_and_given_back(api: Running) -> None:
    async with api.as_person("alice") as client:
        made = []
        for number, body in enumerate(KINDS):
            answer = await client.post("/api/v1/alerts", json=body | {"alert_name": f"R{number}"})
            assert answer.status_code == 201, answer.text
            given = answer.json()
            assert {k: given[k] for k in body if k != "alert_name"} == {
                k: v for k, v in body.items() if k != "alert_name"
            }
            made.append(given["id"])
        both = RULE | {
            "alert_name": "Both",
            "rule_kind": "composite",
            "metric_pattern": "",
            "member_rule_ids": made[:2],
            "comparison_operator": ">=",
            "threshold_value": 2,
        }
        answer = await client.post("/api/v1/alerts", json=both)
        assert answer.status_code == 201, answer.text
        composite = answer.json()["id"]
        # Nothing that another rule counts goes away, and nothing counts itself.
        assert (await client.delete(f"/api/v1/alerts/{made[0]}")).status_code == 409
        of_itself = both | {"alert_name": "More", "member_rule_ids": [composite]}
        assert (await client.post("/api/v1/alerts", json=of_itself)).status_code == 422
        assert (await client.delete(f"/api/v1/alerts/{composite}")).status_code == 204
        assert (await client.delete(f"/api/v1/alerts/{made[0]}")).status_code == 204


async def test_what_cannot_be_kept_is_refused_by_field(api: Running) -> None:
    async with api.as_person("alice") as client:
        for changes, field in FAULTS:
            answer = await client.post("/api/v1/alerts", json=RULE | changes)
            assert answer.status_code == 422, (changes, answer.text)
            assert field in [one["field"] for one in answer.json()["errors"]], (changes, field)


@pytest.mark.parametrize("changes", [KINDS[-1], {"rule_kind": "composite"}])
async def test_what_was_once_taken_refuses_no_edit_of_something_else(
    api: Running, database: Database, changes: dict[str, Any]
) -> None:
    """A factor of a kind that has none by now: it counts nowhere, and stays until it is removed."""
    async with api.as_person("alice") as client:
        body = RULE | changes
        if changes["rule_kind"] == "composite":
            member = (await client.post("/api/v1/alerts", json=RULE)).json()["id"]
            body |= {"alert_name": "Both", "metric_pattern": "", "member_rule_ids": [member]}
        made = await client.post("/api/v1/alerts", json=body)
        assert made.status_code == 201, made.text
        path = f"/api/v1/alerts/{made.json()['id']}"
        with psycopg.connect(database.owner, autocommit=True) as owner:
            owner.execute(
                "update public.apm_alerts set wedding_factors = '{\"window\": 0.5}' where id = %s",
                (made.json()["id"],),
            )
        edited = await client.patch(path, json={"description": "Ask Mo first."})
        assert edited.status_code == 200, edited.text
        assert edited.json()["wedding_factors"] == {"window": 0.5}
        other = await client.patch(path, json={"wedding_factors": {"window": 0.6}})
        assert [one["field"] for one in other.json()["errors"]] == ["wedding_factors"]
        removed = await client.patch(path, json={"wedding_factors": {}})
        assert (removed.status_code, removed.json()["wedding_factors"]) == (200, {})


async def test_preview_and_explain_say_the_same(api: Running, database: Database) -> None:
    add_samples(database, api.world.here, {50: 100, 40: 900, 30: 901, 20: 100})
    ask = {"rule": RULE, "start": (NOW - timedelta(seconds=60)).isoformat(), "end": NOW.isoformat()}
    async with api.as_person("alice") as client:
        answer = await client.post("/api/v1/alerts/preview", json=ask)
        assert answer.status_code == 200, answer.text
        seen = answer.json()
        assert (seen["alarm_count"], seen["instance_count"]) == (1, 1)
        (instance,) = seen["instances"]
        assert (instance["service_name"], instance["metric_name"]) == ("forms", "time")
        (alarm,) = instance["alarms"]
        assert datetime.fromisoformat(alarm["begins_at"]) == NOW - timedelta(seconds=40)
        assert datetime.fromisoformat(alarm["ends_at"]) == NOW - timedelta(seconds=20)
        assert alarm["begin"]["reason"] == (
            "newest value 900 of 2 samples; limit > 500, the rule's own; firing"
        )
        made = (await client.post("/api/v1/alerts", json=RULE)).json()
        for point in instance["points"]:
            explained = await client.get(
                f"/api/v1/alerts/{made['id']}/explain", params={"at": point["at"]}
            )
            (judged,) = explained.json()["judgements"]
            assert judged["verdict"] == point
        stored = await client.post(
            "/api/v1/alerts/preview",
            json={"alert_id": made["id"], "start": ask["start"], "end": ask["end"]},
        )
        assert stored.json()["instances"] == seen["instances"]


async def test_a_question_that_is_none_is_refused(api: Running) -> None:
    start = (NOW - timedelta(hours=1)).isoformat()
    wrong: list[dict[str, Any]] = [
        {"start": start},
        {"start": start, "rule": RULE, "alert_id": str(api.world.here)},
        {"start": "2026-06-20T14:00:00", "rule": RULE},
        {"start": (NOW - timedelta(days=40)).isoformat(), "rule": RULE},
        {"start": start, "end": "2020-01-01T00:00:00Z", "rule": RULE},
        {"start": start, "rule": RULE | {"threshold_value": 1, "clear_threshold_value": 2}},
    ]
    async with api.as_person("alice") as client:
        for body in wrong:
            answer = await client.post("/api/v1/alerts/preview", json=body)
            assert answer.status_code == 422, (body, answer.text)


@pytest.mark.parametrize(
    "at",
    [
        "9999-12-31T00:00:00Z",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        pytest.param((NOW + timedelta(days=1)).isoformat(), id="tomorrow"),
    ],
)
async def test_only_what_was_is_judged(api: Running, at: str) -> None:
    async with api.as_person("alice") as client:
        rule = (await client.post("/api/v1/alerts", json=RULE)).json()["id"]
        answer = await client.get(f"/api/v1/alerts/{rule}/explain", params={"at": at})
        assert answer.status_code == 422, answer.text
        assert [one["field"] for one in answer.json()["errors"]] == ["at"]
        asked = {"alert_id": rule, "start": at, "end": at}
        answer = await client.post("/api/v1/alerts/preview", json=asked)
        assert answer.status_code == 422, answer.text


async def test_a_looser_limit_of_a_wedding_is_told(api: Running, database: Database) -> None:
    """The sample itself says that it is a wedding day."""
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(
            "insert into public.apm_samples (organization_id, service_name, metric_name, "
            "metric_value, tags, \"timestamp\", wedding_context) values (%s, 'forms', 'time', 20, "
            "'{}', %s, '{\"is_wedding_day\": true}')",
            (api.world.here, NOW - timedelta(seconds=10)),
        )
    body = RULE | {
        "threshold_value": 10,
        "wedding_day_override": True,
        "wedding_thresholds": {"window": 50},
    }
    async with api.as_person("alice") as client:
        rule = (await client.post("/api/v1/alerts", json=body)).json()["id"]
        at = {"at": (NOW - timedelta(seconds=5)).isoformat()}
        explained = await client.get(f"/api/v1/alerts/{rule}/explain", params=at)
    (judged,) = explained.json()["judgements"]
    assert judged["verdict"]["reason"] == (
        "newest value 20 of 1 samples; limit > 50, the rule's own value for declared of a wedding "
        "day, looser than 10 on other days; ok"
    )


async def test_rules_to_begin_with_are_made_once(api: Running) -> None:
    async with api.as_person("alice") as client:
        (offered,) = (
            await client.get("/api/v1/alerts/starter", params={"vendor_type": "florist"})
        ).json()
        names = [rule["alert_name"] for rule in offered["rules"]]
        assert "Guests wait longer than promised" in names
        body = {"vendor_type": "florist"}
        first = await client.post("/api/v1/alerts/adopt", json=body | {"names": names[:1]})
        assert [rule["alert_name"] for rule in first.json()["made"]] == names[:1]
        rest = (await client.post("/api/v1/alerts/adopt", json=body)).json()
        assert [rule["alert_name"] for rule in rest["made"]] == names[1:]
        assert rest["kept"] == names[:1]
        again = (await client.post("/api/v1/alerts/adopt", json=body)).json()
        assert (again["made"], again["kept"]) == ([], names)
        unknown = await client.post("/api/v1/alerts/adopt", json=body | {"names": ["Nothing"]})
        assert unknown.status_code == 422


async def test_nobody_in_particular_is_told_nothing(api: Running) -> None:
    bodies = {"preview": {"start": NOW.isoformat(), "rule": RULE}, "adopt": {"vendor_type": "dj"}}
    async with api.client() as client:
        for path in ("starter", f"{api.world.here}/explain"):
            assert (await client.get(f"/api/v1/alerts/{path}")).status_code == 401
        for path, body in bodies.items():
            assert (await client.post(f"/api/v1/alerts/{path}", json=body)).status_code == 401


async def test_who_may_only_look_may_ask_and_change_nothing(
    api: Running, database: Database
) -> None:
    add_samples(database, api.world.here, {40: 900})
    ask = {"rule": RULE, "start": (NOW - timedelta(seconds=60)).isoformat(), "end": NOW.isoformat()}
    async with api.as_person("vera") as client:
        answer = await client.post("/api/v1/alerts/preview", json=ask)
        assert answer.json()["alarm_count"] == 1
        adopted = await client.post("/api/v1/alerts/adopt", json={"vendor_type": "florist"})
        assert adopted.status_code == 403
        assert (await client.get("/api/v1/alerts")).json()["items"] == []


async def test_another_tenants_rules_are_not_there(api: Running, database: Database) -> None:
    add_samples(database, api.world.here, {40: 900})
    async with api.as_person("alice") as client:
        ours = (await client.post("/api/v1/alerts", json=RULE)).json()["id"]
    window = {"start": (NOW - timedelta(seconds=60)).isoformat(), "end": NOW.isoformat()}
    async with api.as_person("oscar") as client:
        preview = await client.post("/api/v1/alerts/preview", json=window | {"alert_id": ours})
        assert preview.status_code == 404
        at = {"at": NOW.isoformat()}
        explained = await client.get(f"/api/v1/alerts/{ours}/explain", params=at)
        assert explained.status_code == 404
        seen = await client.post("/api/v1/alerts/preview", json=window | {"rule": RULE})
        assert seen.json()["instance_count"] == 0, "and neither are its samples"
        stolen = RULE | {
            "alert_name": "Both",
            "rule_kind": "composite",
            "metric_pattern": "",
            "member_rule_ids": [ours],
        }
        refused = await client.post("/api/v1/alerts", json=stolen)
        assert refused.status_code == 422
        assert refused.json()["errors"] == [
            {"field": "member_rule_ids", "reason": "does not exist"}
        ]
        asked = await client.post("/api/v1/alerts/preview", json=window | {"rule": stolen})
        assert asked.status_code == 404


async def test_what_the_docs_say_can_be_sent(api: Running) -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    bodies = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(bodies) == 6
    async with api.as_person("alice") as client:
        for body in map(json.loads, bodies):
            answer = await client.post("/api/v1/alerts", json=body)
            assert answer.status_code == 201, (body, answer.text)
    for script in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        process = await asyncio.create_subprocess_exec(
            "sh",
            "-ec",
            script.replace("http://127.0.0.1:8080", api.url),
            env=os.environ | {"KEY": api.world.keys["admin"]},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, out.decode()


def test_every_field_and_word_of_a_rule_is_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    names = [field.name for field in msgspec.structs.fields(AlertInput)]
    words: list[str] = [*RuleKind, *Aggregation, *Match, *Baseline, *GRADES, *PHASES]
    assert [
        one for one in (*names, *words) if not re.search(rf"[`\"]{re.escape(one)}[`\"]", page)
    ] == []
