-- pre: a dashboard goes out by mail, each day or week, to proven contacts of the organization's people, each time once.

create table public.apm_dashboard_mails (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    dashboard_id uuid not null,
    contact_method_id uuid not null,
    -- Monday is 1; null: each day
    weekday int check (weekday between 1 and 7),
    -- by the clock of time_zone
    at_time time not null,
    time_zone text not null check (length(time_zone) <= 64),
    -- as the dashboard was looked at; null: as its document says
    span text check (span in ('15m', '1h', '6h', '24h', '7d', '30d')),
    variables jsonb not null default '{}'
        check (jsonb_typeof(variables) = 'object' and pg_column_size(variables) <= 4000),
    -- when the next one is due
    next_at timestamptz not null,
    created_by uuid,
    created_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_dashboard_mails_receiver_key unique (organization_id, dashboard_id, contact_method_id),
    constraint apm_dashboard_mails_dashboard_fkey foreign key (organization_id, dashboard_id)
        references public.apm_dashboards (organization_id, id) on delete cascade,
    constraint apm_dashboard_mails_contact_fkey foreign key (organization_id, contact_method_id)
        references public.apm_contact_methods (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_dashboard_mails');
-- list_due_dashboard_mails: over all organizations
create index idx_apm_dashboard_mails_next on public.apm_dashboard_mails (next_at);
-- what goes with a contact
create index idx_apm_dashboard_mails_contact on public.apm_dashboard_mails (organization_id, contact_method_id);
create trigger apm_dashboard_mails_audit after insert or delete on public.apm_dashboard_mails
for each row execute function apm_private.write_audit();
grant select, delete on public.apm_dashboard_mails to authenticated;
grant insert (
    organization_id, dashboard_id, contact_method_id, weekday, at_time, time_zone, span, variables, next_at, created_by
) on public.apm_dashboard_mails to authenticated;
create policy apm_dashboard_mails_authenticated_select on public.apm_dashboard_mails for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_dashboard_mails_authenticated_insert on public.apm_dashboard_mails for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_dashboard_mails_authenticated_delete on public.apm_dashboard_mails for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- Only to a person of the organization, by mail, where he has proven that it is his.
create function apm_private.check_dashboard_mail() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from public.apm_contact_methods as c
        where c.organization_id = new.organization_id and c.id = new.contact_method_id and c.channel = 'email'
            and c.verified_at is not null and c.disabled_at is null and exists (
                select from apm_private.members_among(new.organization_id, array[c.user_id])
            )
    ) then
        raise exception 'a dashboard is mailed to proven e-mail contacts of members only'
            using errcode = 'check_violation', constraint = 'apm_dashboard_mails_receiver', table = 'apm_dashboard_mails',
            column = 'contact_method_id';
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.check_dashboard_mail()');
create trigger apm_dashboard_mails_check before insert on public.apm_dashboard_mails
for each row execute function apm_private.check_dashboard_mail();

-- What is in line goes no further when it is ended, for whatever reason.
create function apm_private.end_dashboard_mail() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.apm_deliveries as d set state = 'cancelled', state_reason = 'mailing this dashboard has ended',
        lease_owner = null, lease_until = null
    where d.organization_id = old.organization_id and d.contact_method_id = old.contact_method_id and d.kind = 'report'
        and d.payload ->> 'mail_id' = old.id::text and d.state in ('pending', 'leased', 'retry', 'unknown');
    return old;
end
$$;
call apm_private.hand_over('apm_private.end_dashboard_mail()');
create trigger apm_dashboard_mails_end before delete on public.apm_dashboard_mails
for each row execute function apm_private.end_dashboard_mail();

-- What is attached to mails that are in line, as it was drawn; gone some days later.
create table apm_private.mail_papers (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    id uuid not null,
    name text not null check (length(name) between 1 and 100),
    content bytea not null check (length(content) <= 16777216),
    made_at timestamptz not null,
    primary key (organization_id, id)
);
call apm_private.protect_table('apm_private.mail_papers');
-- forget_papers: those that are old
create index idx_apm_mail_papers_made on apm_private.mail_papers (made_at);

-- Which dashboard a link in a mail is about; null for one that has ended.
create function apm_private.look_up_dashboard_mail(id uuid) returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select d.name from public.apm_dashboard_mails as m
    join public.apm_dashboards as d on d.organization_id = m.organization_id and d.id = m.dashboard_id
    where m.id = look_up_dashboard_mail.id
$$;
call apm_private.hand_over('apm_private.look_up_dashboard_mail(uuid)');

-- Ends it, by the link that its receiver alone has.
create function apm_private.leave_dashboard_mail(id uuid) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from public.apm_dashboard_mails as m where m.id = leave_dashboard_mail.id;
    return found;
end
$$;
call apm_private.hand_over('apm_private.leave_dashboard_mail(uuid)');
grant execute on function apm_private.look_up_dashboard_mail(uuid), apm_private.leave_dashboard_mail(uuid) to apm_api;
-- the two above, by the id alone
create index idx_apm_dashboard_mails_id on public.apm_dashboard_mails (id);
