import pytest

from tests.support.sql_lint import lint, statements

GOOD = """-- What SELECT FROM means here is a comment.
create table public.things (id int, label text default 'SELECT; not a statement');
alter table public.things enable row level security;
alter table public.things force row level security;
create policy things_api_select on public.things for select to apm_api using (true);
create view public.seen with (security_invoker = true) as select id from public.things;
create function public.count_things() returns bigint
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$ select count(*) from public.things; $$;
"""


def test_good_text_has_no_findings() -> None:
    assert lint(GOOD, "good.sql") == []


def test_bodies_and_literals_do_not_split_statements() -> None:
    assert [s.line for s in statements(GOOD)] == [1, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("select 1\nFROM things", 2, "keyword FROM"),
        (GOOD.replace("set search_path = pg_catalog, pg_temp\n", ""), 7, "search_path"),
        (GOOD.replace("alter table public.things force row level security;\n", ""), 1, "forced"),
        (GOOD.replace(" to apm_api", ""), 5, "names no role"),
        (GOOD.replace(" with (security_invoker = true)", ""), 6, "security_invoker"),
        ("select 1;\nselect\n    current_date", 3, "current_date"),
        ("select 1 \n", 1, "spaces at the end"),
        ("select\n\t1", 2, "tab"),
    ],
)
def test_each_rule_finds_what_it_is_for(text: str, line: int, reason: str) -> None:
    (finding,) = lint(text, "bad.sql")
    assert reason in finding.text
    assert finding.line == line
    assert str(finding).startswith(f"bad.sql:{line}: ")
