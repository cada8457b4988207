-- pre: dead-man's switches: what is to be heard of regularly, and opens an incident when it is not.

create table public.apm_heartbeats (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    name text not null check (length(name) between 1 and 200),
    description text not null default '' check (length(description) <= 1000),
    service_name text not null default 'heartbeat' check (length(service_name) between 1 and 200),
    -- expected every so often after the last one …
    period interval check (period between interval '10 seconds' and interval '366 days'),
    -- … or at the times of a cron expression, in its zone
    cron text check (length(cron) between 9 and 200),
    time_zone text check (length(time_zone) between 1 and 100),
    -- how late it may be, and how long a run that said "start" may take
    grace interval not null default '5 minutes' check (grace between interval '1 second' and interval '30 days'),
    severity public.alert_severity not null default 'critical',
    is_active boolean not null default true,
    -- new: not heard of yet, so nothing is missed
    state text not null default 'new' check (state in ('new', 'up', 'down')),
    last_heard_at timestamptz,
    last_signal text check (last_signal in ('success', 'start', 'fail')),
    started_at timestamptz,
    last_duration interval,
    -- when it is expected next
    due_at timestamptz,
    -- the timer: when it is missed
    alarm_at timestamptz,
    heard_count bigint not null default 0,
    -- the last twenty pings, newest first
    recent_at timestamptz[] not null default '{}',
    recent_signals text[] not null default '{}',
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_heartbeats_name_key unique (organization_id, name),
    constraint apm_heartbeats_rhythm check (num_nonnulls(period, cron) = 1 and (cron is null) = (time_zone is null)),
    constraint apm_heartbeats_timer check (alarm_at is null or (is_active and state = 'up'))
);
call apm_private.protect_table('public.apm_heartbeats');
-- what people decide is kept in the log, what the clock does is not
create trigger apm_heartbeats_audit
after insert or delete or update of name, description, service_name, period, cron, time_zone, grace, severity, is_active
on public.apm_heartbeats
for each row execute function apm_private.write_audit();
-- find_missed: the timers that have run out, over all organizations
create index idx_apm_heartbeats_alarm on public.apm_heartbeats (alarm_at) where alarm_at is not null;
grant select on public.apm_heartbeats to authenticated;
call apm_private.grant_writes('public.apm_heartbeats', kept => array[
    'state', 'last_heard_at', 'last_signal', 'started_at', 'last_duration', 'due_at', 'alarm_at', 'heard_count',
    'recent_at', 'recent_signals'
]);
create policy apm_heartbeats_authenticated_select on public.apm_heartbeats for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_heartbeats_authenticated_insert on public.apm_heartbeats for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_heartbeats_authenticated_update on public.apm_heartbeats for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_heartbeats_authenticated_delete on public.apm_heartbeats for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- SHA-256 of the token in the address; nobody reads it, and it has random bits enough for a plain hash.
create table apm_private.heartbeat_tokens (
    organization_id uuid not null,
    heartbeat_id uuid not null,
    token_hash bytea not null unique check (length(token_hash) = 32),
    primary key (organization_id, heartbeat_id),
    foreign key (organization_id, heartbeat_id) references public.apm_heartbeats (organization_id, id) on delete cascade
);
call apm_private.protect_table('apm_private.heartbeat_tokens');

-- A changed rhythm or a pause starts anew: nothing is missed until it has been heard of again. What it had open ends,
-- for nobody watches any more.
create function apm_private.rewind_heartbeat() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'DELETE' then
        -- not where the whole organization goes: nobody could be told
        if exists (select from apm_private.host_organizations(array[old.organization_id])) then
            perform apm_private.end_incident(
                old.organization_id, 'heartbeat:1:' || old.id, 'its heartbeat was deleted', clock_timestamp()
            );
        end if;
        return old;
    end if;
    if new.time_zone is not null and not apm_private.is_time_zone(new.time_zone) then
        raise exception 'is no time zone' using errcode = 'check_violation', constraint = 'time_zone', table = 'apm_heartbeats';
    end if;
    if tg_op = 'UPDATE' and (new.period, new.cron, new.time_zone, new.grace, new.is_active)
        is distinct from (old.period, old.cron, old.time_zone, old.grace, old.is_active) then
        new.state := 'new';
        new.due_at := null;
        new.alarm_at := null;
        new.started_at := null;
        if old.state = 'down' then
            perform apm_private.end_incident(
                old.organization_id, 'heartbeat:1:' || old.id, 'its heartbeat was switched off or changed', clock_timestamp()
            );
        end if;
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.rewind_heartbeat()');
create trigger apm_heartbeats_rewind before insert or delete or update of period, cron, time_zone, grace, is_active
on public.apm_heartbeats
for each row execute function apm_private.rewind_heartbeat();

create function apm_private.remember_ping() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.recent_at := (new.last_heard_at || old.recent_at)[:20];
    new.recent_signals := (new.last_signal || old.recent_signals)[:20];
    return new;
end
$$;
revoke all on function apm_private.remember_ping() from public, anon, authenticated, service_role;
create trigger apm_heartbeats_remember before update of heard_count on public.apm_heartbeats
for each row when (new.heard_count > old.heard_count) execute function apm_private.remember_ping();

-- Gives a heartbeat its address, or a new one in place of the old; for those who may change it.
create function public.apm_set_heartbeat_token(heartbeat_id uuid, token_hash bytea) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    heartbeat public.apm_heartbeats%rowtype;
begin
    select h.* into heartbeat from public.apm_heartbeats as h
    where h.id = apm_set_heartbeat_token.heartbeat_id
        and h.organization_id = any (public.apm_current_organization_ids());
    if not found then
        raise exception 'There is no such heartbeat.' using errcode = 'AP404';
    end if;
    if heartbeat.organization_id <> all (public.apm_organization_ids_as('ADMIN')) then
        raise exception 'Only an owner or admin may change a heartbeat.' using errcode = 'AP403';
    end if;
    insert into apm_private.heartbeat_tokens as t (organization_id, heartbeat_id, token_hash)
    values (heartbeat.organization_id, heartbeat.id, apm_set_heartbeat_token.token_hash)
    on conflict (organization_id, heartbeat_id) do update set token_hash = excluded.token_hash;
end
$$;
call apm_private.hand_over('public.apm_set_heartbeat_token(uuid, bytea)');
grant execute on function public.apm_set_heartbeat_token(uuid, bytea) to authenticated;

-- The heartbeat of a token, locked, and the moment at which it was heard: the database's clock, after the lock.
create function apm_private.take_heartbeat(token_hash bytea)
returns table (
    organization_id uuid, id uuid, period interval, cron text, time_zone text, grace interval, is_active boolean,
    due_at timestamptz, received_at timestamptz
)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select h.organization_id, h.id, h.period, h.cron, h.time_zone, h.grace, h.is_active, h.due_at, clock_timestamp()
    from (
        select b.* from apm_private.heartbeat_tokens as t
        join public.apm_heartbeats as b on b.organization_id = t.organization_id and b.id = t.heartbeat_id
        where t.token_hash = take_heartbeat.token_hash
        for update of b
    ) as h;
end
$$;
call apm_private.hand_over('apm_private.take_heartbeat(bytea)');

-- What a signal does: success sets the timer anew and ends what it had open, start gives the run its grace, fail opens an
-- incident at once. Tells the state that it leads to.
create function apm_private.note_heartbeat(
    organization_id uuid, id uuid, signal text, words text, due_at timestamptz, received_at timestamptz
) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    heartbeat public.apm_heartbeats%rowtype;
begin
    select h.* into heartbeat from public.apm_heartbeats as h
    where h.organization_id = note_heartbeat.organization_id and h.id = note_heartbeat.id
    for update;
    if not heartbeat.is_active then
        update public.apm_heartbeats as h set
            last_heard_at = note_heartbeat.received_at, last_signal = note_heartbeat.signal, heard_count = h.heard_count + 1
        where h.organization_id = heartbeat.organization_id and h.id = heartbeat.id;
        return 'paused';
    end if;
    perform set_config('apm.actor', 'heartbeat', true);
    case note_heartbeat.signal
        when 'success' then
            update public.apm_heartbeats as h set
                state = 'up', last_heard_at = note_heartbeat.received_at, last_signal = 'success',
                last_duration = case when h.started_at is not null then note_heartbeat.received_at - h.started_at end,
                started_at = null, due_at = note_heartbeat.due_at, alarm_at = note_heartbeat.due_at + h.grace,
                heard_count = h.heard_count + 1
            where h.organization_id = heartbeat.organization_id and h.id = heartbeat.id;
            perform apm_private.end_incident(
                heartbeat.organization_id, 'heartbeat:1:' || heartbeat.id, 'it was heard of again', note_heartbeat.received_at
            );
            return 'up';
        when 'start' then
            -- A run that begins has its grace from now, but an alarm that was due earlier stays due. What is down stays down
            -- until it has ended well.
            update public.apm_heartbeats as h set
                state = case h.state when 'new' then 'up' else h.state end,
                last_heard_at = note_heartbeat.received_at, last_signal = 'start',
                started_at = note_heartbeat.received_at,
                due_at = coalesce(h.due_at, note_heartbeat.due_at),
                alarm_at = case when h.state <> 'down' then least(
                    coalesce(h.alarm_at, note_heartbeat.due_at + h.grace), note_heartbeat.received_at + h.grace
                ) end,
                heard_count = h.heard_count + 1
            where h.organization_id = heartbeat.organization_id and h.id = heartbeat.id;
            return 'started';
        when 'fail' then
            update public.apm_heartbeats as h set
                state = 'down', last_heard_at = note_heartbeat.received_at, last_signal = 'fail',
                last_duration = case when h.started_at is not null then note_heartbeat.received_at - h.started_at end,
                started_at = null, due_at = note_heartbeat.due_at, alarm_at = null, heard_count = h.heard_count + 1
            where h.organization_id = heartbeat.organization_id and h.id = heartbeat.id;
            perform apm_private.open_heartbeat_incident(heartbeat, note_heartbeat.words, note_heartbeat.received_at);
            return 'down';
    end case;
end
$$;

create function apm_private.open_heartbeat_incident(heartbeat public.apm_heartbeats, words text, at timestamptz) returns uuid
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select apm_private.open_incident(
        heartbeat.organization_id, 'heartbeat:1:' || heartbeat.id, heartbeat.name || ' ' || open_heartbeat_incident.words,
        heartbeat.severity,
        jsonb_build_object('service', heartbeat.service_name, 'tag.heartbeat', heartbeat.name),
        jsonb_build_object('subject', heartbeat.name, 'problem', open_heartbeat_incident.words),
        open_heartbeat_incident.at
    )
$$;
call apm_private.hand_over('apm_private.open_heartbeat_incident(public.apm_heartbeats, text, timestamptz)');
call apm_private.hand_over('apm_private.note_heartbeat(uuid, uuid, text, text, timestamptz, timestamptz)');
grant execute on function apm_private.take_heartbeat(bytea),
    apm_private.note_heartbeat(uuid, uuid, text, text, timestamptz, timestamptz) to apm_api;

-- Opens an incident for each of the most overdue heartbeats; another engine's are left to it. Tells what it opened.
create function apm_private.miss_heartbeats(at timestamptz, most int)
returns table (organization_id uuid, heartbeat_id uuid, incident_id uuid, overdue interval)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    heartbeat public.apm_heartbeats%rowtype;
begin
    perform set_config('apm.actor', 'heartbeat', true);
    -- After a pause of ours we may have been deaf: what ran out meanwhile gets another minute to be heard of.
    if exists (
        select from apm_private.job_runs as j
        where j.job = 'heartbeats' and j.finished_at < miss_heartbeats.at - interval '30 seconds'
    ) then
        update public.apm_heartbeats as h set alarm_at = miss_heartbeats.at + interval '1 minute'
        where h.alarm_at <= miss_heartbeats.at;
    end if;
    for heartbeat in
        select h.* from public.apm_heartbeats as h
        where h.alarm_at <= miss_heartbeats.at
        order by h.alarm_at
        limit miss_heartbeats.most
        for update skip locked
    loop
        update public.apm_heartbeats as h set state = 'down', alarm_at = null
        where h.organization_id = heartbeat.organization_id and h.id = heartbeat.id;
        organization_id := heartbeat.organization_id;
        heartbeat_id := heartbeat.id;
        overdue := miss_heartbeats.at - heartbeat.alarm_at;
        incident_id := apm_private.open_heartbeat_incident(
            heartbeat,
            case
                when heartbeat.started_at is not null and heartbeat.alarm_at = heartbeat.started_at + heartbeat.grace
                then 'began and has not ended' else 'has not been heard of'
            end,
            heartbeat.alarm_at
        );
        return next;
    end loop;
end
$$;
call apm_private.hand_over('apm_private.miss_heartbeats(timestamptz, int)');
grant execute on function apm_private.miss_heartbeats(timestamptz, int) to apm_engine;
