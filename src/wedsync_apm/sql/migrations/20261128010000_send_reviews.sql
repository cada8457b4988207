-- pre: what reviews decided is asked after when it is overdue, and reports of weddings and Saturdays go out, each once.

alter table public.apm_postmortem_actions
    -- when the organization's owners were told that it is still not done
    add column owners_told_at timestamptz;
-- ask_after_actions: those whose owner was told, over all organizations
create index idx_apm_postmortem_actions_told on public.apm_postmortem_actions (told_at)
where done_at is null and told_at is not null and owners_told_at is null;

-- A new day, or another person, and it is asked after anew.
create function apm_private.forget_told_action() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if (new.due_on, new.owner) is distinct from (old.due_on, old.owner) then
        new.told_at := null;
        new.owners_told_at := null;
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.forget_told_action()');
create trigger apm_postmortem_actions_forget before update of due_on, owner on public.apm_postmortem_actions
for each row execute function apm_private.forget_told_action();

-- From when on what was to be done by a day is asked after: nine on the morning after, by the organization's clock.
create function apm_private.overdue_at(organization_id uuid, due_on date) returns timestamptz
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select (overdue_at.due_on + 1 + time '09:00') at time zone case
        when apm_private.is_time_zone(o.time_zone) then o.time_zone else 'UTC' end
    from apm_private.host_organizations(array[overdue_at.organization_id]) as o
$$;
call apm_private.hand_over('apm_private.overdue_at(uuid, date)');

-- How people of an organization get its mail: each by his own proven address there, else by the one that he signs in
-- with, and never by one that is switched off there. No row for whoever has left.
create function apm_private.mail_of(organization_id uuid, user_ids uuid[])
returns table (user_id uuid, contact_method_id uuid, name text, address text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select p.id, c.id, coalesce(u.display_name, c.name, s.email), coalesce(c.address, s.email)
    from apm_private.members_among(mail_of.organization_id, mail_of.user_ids) as p (id)
    left join apm_private.users as u on u.id = p.id
    left join public.apm_operators as o on o.user_id = p.id and o.disabled_at is null
    cross join lateral (select coalesce(u.email, o.email)) as s (email)
    left join lateral (
        select m.id, m.name, m.address from public.apm_contact_methods as m
        where m.organization_id = mail_of.organization_id and m.user_id = p.id and m.channel = 'email'
            and m.disabled_at is null and m.verified_at is not null
        order by m.preference, m.created_at, m.id
        limit 1
    ) as c on true
    where c.id is not null or (s.email is not null and not exists (
        select from public.apm_contact_methods as m
        where m.organization_id = mail_of.organization_id and m.channel = 'email' and m.disabled_at is not null
            and lower(m.address) = lower(s.email)
    ))
$$;
call apm_private.hand_over('apm_private.mail_of(uuid, uuid[])');
grant execute on function apm_private.mail_of(uuid, uuid[]) to apm_engine;

-- Who answers for organizations: by the host's profiles or by our memberships in one of these roles; for the platform's
-- own, its operators. Asked for many at once, because everybody's profile has to be looked at.
create function apm_private.people_as(organization_ids uuid[], roles text[])
returns table (organization_id uuid, user_id uuid)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select m.organization_id, m.user_id
    from public.apm_memberships as m
    where m.organization_id = any (people_as.organization_ids) and m.role = any (people_as.roles)
    union
    select h.organization_id, k.id
    from (
        select u.id from apm_private.users as u
        union
        select c.user_id from public.apm_contact_methods as c
        where c.organization_id = any (people_as.organization_ids) and c.user_id is not null
    ) as k
    cross join lateral apm_private.host_memberships(k.id) as h
    where h.organization_id = any (people_as.organization_ids) and h.role = any (people_as.roles)
    union
    select p.organization_id, o.user_id
    from public.apm_operators as o
    cross join apm_private.platform as p
    where p.organization_id = any (people_as.organization_ids) and o.disabled_at is null
$$;
call apm_private.hand_over('apm_private.people_as(uuid[], text[])');
grant execute on function apm_private.people_as(uuid[], text[]) to apm_engine;

-- Whom a name that was written down means: a member of that name or address, else the only one with that first name,
-- else a proven address that bears it. No row for nobody.
create function apm_private.mail_of_named(organization_id uuid, name text)
returns table (user_id uuid, contact_method_id uuid, name text, address text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with wanted as (
        select lower(btrim(mail_of_named.name)) as word
    ), called as (
        select u.id, w.word in (lower(u.display_name), lower(u.email)) as is_exact
        from wanted as w
        join apm_private.users as u
            on w.word in (lower(u.display_name), lower(u.email), lower(split_part(u.display_name, ' ', 1)))
    ), here as materialized (
        select c.id, c.is_exact
        from apm_private.members_among(mail_of_named.organization_id, array(select c.id from called as c)) as m (id)
        join called as c on c.id = m.id
    ), people as materialized (
        select m.* from apm_private.mail_of(mail_of_named.organization_id, array(
            select h.id from here as h
            where h.is_exact or (select count(*) from here) = 1
        )) as m
    )
    select p.user_id, p.contact_method_id, p.name, p.address from people as p
    union all
    select c.user_id, c.id, c.name, c.address
    from public.apm_contact_methods as c
    cross join wanted as w
    where c.organization_id = mail_of_named.organization_id and lower(c.name) = w.word and c.channel = 'email'
        and c.disabled_at is null and c.verified_at is not null
        and (c.user_id is null or exists (
            select from apm_private.members_among(mail_of_named.organization_id, array[c.user_id])
        ))
        and not exists (select from people)
$$;
call apm_private.hand_over('apm_private.mail_of_named(uuid, text)');
grant execute on function apm_private.overdue_at(uuid, date), apm_private.mail_of_named(uuid, text),
    apm_private.members_among(uuid, uuid[]) to apm_engine;

-- The reports that have gone out: 'wedding:<id>:<day>', 'day:<day>'. A wedding that moves to another day afterwards has
-- another report there.
create table apm_private.sent_reports (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    subject text not null,
    sent_at timestamptz not null,
    primary key (organization_id, subject)
);
call apm_private.protect_table('apm_private.sent_reports');

-- The weddings that ended so long ago and are not reported on; none of those that ended three days before that.
create function apm_private.weddings_to_report(at timestamptz, after interval)
returns table (
    organization_id uuid, wedding_id uuid, wedding_date date, time_zone text, initials text, starts_at timestamptz,
    ends_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, w.initials, w.starts_at, w.ends_at
    from apm_private.weddings_to_prepare(
        array(select o.organization_id from apm_private.host_organizations(null) as o),
        ((weddings_to_report.at - weddings_to_report.after - interval '6 days') at time zone 'UTC')::date,
        ((weddings_to_report.at - weddings_to_report.after + interval '1 day') at time zone 'UTC')::date
    ) as w
    where w.ends_at <= weddings_to_report.at - weddings_to_report.after
        and w.ends_at > weddings_to_report.at - weddings_to_report.after - interval '3 days'
        and not exists (
            select from apm_private.sent_reports as s
            where s.organization_id = w.organization_id
                and s.subject = 'wedding:' || w.wedding_id || ':' || w.wedding_date
        )
$$;
call apm_private.hand_over('apm_private.weddings_to_report(timestamptz, interval)');
grant execute on function apm_private.weddings_to_report(timestamptz, interval) to apm_engine;

-- The last Saturday, from eight on the Monday after it by the platform's clock until Thursday, while it is not reported
-- on; none from before there were operators.
create function apm_private.saturday_to_report(at timestamptz)
returns table (organization_id uuid, day date, time_zone text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with here as (
        select p.organization_id, z.name,
            date_trunc('week', saturday_to_report.at at time zone z.name)::date as monday
        from apm_private.platform as p
        cross join lateral (select coalesce(apm_private.platform_time_zone(), 'UTC')) as z (name)
    )
    select h.organization_id, h.monday - 2, h.name
    from here as h
    where saturday_to_report.at >= (h.monday + time '08:00') at time zone h.name
        and saturday_to_report.at < (h.monday + 3)::timestamp at time zone h.name
        and exists (
            select from public.apm_operators as o
            where o.disabled_at is null and o.created_at < h.monday::timestamp at time zone h.name
        )
        and not exists (
            select from apm_private.sent_reports as s
            where s.organization_id = h.organization_id and s.subject = 'day:' || (h.monday - 2)
        )
$$;
call apm_private.hand_over('apm_private.saturday_to_report(timestamptz)');
grant execute on function apm_private.saturday_to_report(timestamptz) to apm_engine;
