-- pre: a wedding that was moved tells from which day; and what each imported file did is kept.

-- The day before the last move; null for one that never moved, or that is back where it was.
alter table public.apm_weddings add column moved_from date;

create function apm_private.remember_move() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    new.moved_from := case when new.wedding_date = old.moved_from then null else old.wedding_date end;
    return new;
end
$$;
call apm_private.hand_over('apm_private.remember_move()');
create trigger apm_weddings_moved before update of wedding_date on public.apm_weddings
for each row when (old.wedding_date is distinct from new.wedding_date) execute function apm_private.remember_move();

-- One row for each file that was taken, with what it did; the file itself is not kept.
create table public.apm_wedding_import_runs (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    format text not null check (format in ('icalendar', 'csv')),
    imported_at timestamptz not null default now(),
    imported_by uuid default auth.uid(),
    -- {"created": 12, …}: how many entries did what
    counts jsonb not null check (jsonb_typeof(counts) = 'object'),
    refused int not null check (refused >= 0),
    -- the first hundred: [{"place", "field", "reason"}]
    faults jsonb not null check (jsonb_typeof(faults) = 'array'),
    primary key (organization_id, id)
);
call apm_private.protect_table('public.apm_wedding_import_runs');
-- the page of imports: an organization's newest first
create index idx_apm_wedding_import_runs_organization on public.apm_wedding_import_runs (organization_id, imported_at desc, id);
grant select, insert (organization_id, format, counts, refused, faults) on public.apm_wedding_import_runs to authenticated;
create policy apm_wedding_import_runs_authenticated_select on public.apm_wedding_import_runs for select to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_wedding_import_runs_authenticated_insert on public.apm_wedding_import_runs for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
