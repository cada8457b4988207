from pathlib import Path

import pytest

from wedsync_apm.db.migrations import creations, load_migrations, load_standalone
from wedsync_apm.db.tuning import tuning
from wedsync_apm.errors import ConfigurationError


def _write(folder: Path, name: str, text: str = "-- pre\nselect 1;\n") -> None:
    (folder / "down").mkdir(exist_ok=True)
    (folder / name).write_text(text)


def test_files_come_in_order_with_their_phase_and_way_back(tmp_path: Path) -> None:
    _write(tmp_path, "20260102000000_drop_things.sql", "-- post: when nobody reads it\nselect 2;")
    _write(tmp_path, "20260101000000_create_things.sql")
    (tmp_path / "down" / "20260101000000_create_things.sql").write_text("select 0;")
    first, second = load_migrations(tmp_path)
    assert (first.name, first.phase, first.down) == ("create_things", "pre", "select 0;")
    assert (second.name, second.phase, second.down) == ("drop_things", "post", None)


def test_the_line_ends_of_a_checkout_do_not_change_the_checksum(tmp_path: Path) -> None:
    _write(tmp_path, "20260101000000_create_things.sql")
    (unix,) = load_migrations(tmp_path)
    (tmp_path / "20260101000000_create_things.sql").write_bytes(b"-- pre\r\nselect 1;\r\n")
    (windows,) = load_migrations(tmp_path)
    assert unix.checksum == windows.checksum


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"2026_create_things.sql": "-- pre\n"}, "is not named"),
        ({"20260101000000_things.sql": "-- pre\n"}, "is not named"),
        ({"20260101000000_create_things.sql": "select 1;"}, "must begin with"),
        (
            {
                "20260101000000_create_things.sql": "-- pre\n",
                "20260101000000_index_things.sql": "-- pre\n",
            },
            "Two migrations have the version",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, files: dict[str, str], reason: str
) -> None:
    for name, text in files.items():
        _write(tmp_path, name, text)
    with pytest.raises(ConfigurationError, match=reason):
        load_migrations(tmp_path)


def test_what_a_file_creates_is_read_from_it(tmp_path: Path) -> None:
    _write(
        tmp_path,
        "20260101000000_create_things.sql",
        """-- pre
-- create table public.only_a_comment (id int);
call apm_private.ensure_enum('colour', array['red', 'green']);
create table if not exists public.things (id int);
create unique index idx_things_id on public.things (id);
create index idx_private_id on apm_private.things (id);
create or replace function public.count_things() returns int language sql as $$ select 1 $$;
create procedure apm_private.tidy() language sql as $$ select 1 $$;
create view public.seen with (security_invoker = true) as select 1;
create policy things_read on public.things for select to anon using (true);
create trigger things_touch
before update on public.things for each row execute function apm_private.touch();
""",
    )
    found = creations(load_migrations(tmp_path))
    assert found.objects == {
        "relation public.things",
        "relation public.idx_things_id",
        "relation apm_private.idx_private_id",
        "relation public.seen",
        "function public.count_things",
        "function apm_private.tidy",
        "policy .things_read on public.things",
        "trigger .things_touch on public.things",
    }
    assert found.enums == {"colour": ("red", "green")}
    assert found.types == ["public.colour"]
    assert sorted(found.attached) == [
        "things_read on public.things",
        "things_touch on public.things",
    ]


def test_standalone_files_say_when_they_are_not_needed() -> None:
    files = {file.name: file.unless for file in load_standalone()}
    assert files
    assert "auth.uid()" in (files["02_auth.sql"] or "")


@pytest.mark.parametrize("memory", [256, 1024, 8192, 262_144])
def test_the_server_fits_the_machine_and_stays_durable(memory: int) -> None:
    settings = tuning(memory)
    assert 64 <= int(settings["shared_buffers"].removesuffix("MB")) <= max(64, memory // 4)
    assert int(settings["work_mem"].removesuffix("MB")) * 120 <= memory * 2
    assert settings["synchronous_commit"] == "on"
    assert "fsync" not in settings, "PostgreSQL's own default is on"
