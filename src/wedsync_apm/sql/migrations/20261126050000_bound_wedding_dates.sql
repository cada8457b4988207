-- pre: no wedding of today's is dated before 1990 or after 2100, wherever it comes from; a phase is near it by the venue's clock.

-- Rows from before this was asked stay as they are, until somebody changes them.
alter table public.apm_weddings add constraint apm_weddings_wedding_date_check
    check (wedding_date between '1990-01-01' and '2100-12-31') not valid;

-- Booked and completed weddings of the host's clients; a lead's hoped-for date is none, archived is deleted.
create or replace function apm_private.host_weddings(organization_ids uuid[], earliest date, latest date)
returns table (client_id uuid, organization_id uuid, wedding_date date, venue_name text, initials text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select c.id, c.organization_id, c.wedding_date, to_jsonb(c) ->> 'venue_name',
        concat_ws(' & ', upper(left(to_jsonb(c) ->> 'first_name', 1)), upper(left(to_jsonb(c) ->> 'partner_first_name', 1)))
    from public.clients as c
    where c.organization_id = any (host_weddings.organization_ids)
        and c.wedding_date between greatest(host_weddings.earliest, '1990-01-01') and least(host_weddings.latest, '2100-12-31')
        and lower(c.status::text) in ('booked', 'completed')
        and to_jsonb(c) ->> 'deleted_at' is null
$$;

-- The calendar looks three days around an instant: a phase further away from its wedding would never be found. By the
-- venue's clock, so that whatever moves with its wedding is as near as it was.
create or replace function apm_private.check_wedding_windows() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    wedding uuid := case when tg_table_name = 'apm_weddings' then to_jsonb(new) ->> 'id' else to_jsonb(new) ->> 'wedding_id' end;
begin
    if exists (
        select from public.apm_weddings as w
        join public.apm_wedding_windows as p on p.organization_id = w.organization_id and p.wedding_id = w.id
        where w.organization_id = new.organization_id and w.id = wedding
            and not (p.starts_local >= w.wedding_date - 2 and p.ends_local <= w.wedding_date + 3)
    ) then
        raise exception 'a phase lies within two days of its wedding'
            using errcode = 'check_violation', constraint = 'apm_wedding_windows_near', table = 'apm_wedding_windows',
                column = 'windows';
    end if;
    return null;
end
$$;
