-- pre: silences, and the matchers that say what one is about; over a wedding a second person says yes.

-- What matchers see of an incident that no rule opened: {"service": "stripe", "tag.region": "eu"}.
alter table public.apm_incidents
    add column labels jsonb not null default '{}' check (jsonb_typeof(labels) = 'object');

-- A run that is held back keeps its due step: held_until is when it is looked at again.
alter table public.apm_escalation_runs
    add column held_since timestamptz,
    add column held_until timestamptz,
    -- {"kind", "id", "until", "owner", "reason"}
    add column held_by jsonb,
    -- a person made the step due by hand: it is told whatever holds the incident back
    add column is_pressed boolean not null default false;

alter table public.apm_incident_events drop constraint apm_incident_events_kind_check;
alter table public.apm_incident_events add constraint apm_incident_events_kind_check check (kind in (
    'opened', 'acknowledged', 'investigating', 'resolved', 'closed', 'reopened', 'expired', 'merged',
    'repeated', 'seen', 'note', 'escalated', 'exhausted', 'delivery', 'update', 'held', 'released'
));

-- Matchers as Alertmanager has them: [{"label", "operator": "=", "!=", "=~" or "!~", "value"}]. All must match; a
-- label that is not there is the empty text; an expression fits the whole value.
create function apm_private.do_matchers_match(matchers jsonb, labels jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select not exists (
        select from jsonb_array_elements(do_matchers_match.matchers) as m
        cross join lateral (
            select coalesce(do_matchers_match.labels ->> (m ->> 'label'), '') as found, m ->> 'value' as wanted
        ) as v
        where not case m ->> 'operator'
            when '=' then v.found = v.wanted
            when '!=' then v.found <> v.wanted
            when '=~' then v.found ~ ('^(?:' || v.wanted || ')$')
            when '!~' then v.found !~ ('^(?:' || v.wanted || ')$')
        end
    )
$$;
revoke all on function apm_private.do_matchers_match(jsonb, jsonb) from public, anon, authenticated, service_role;
grant execute on function apm_private.do_matchers_match(jsonb, jsonb) to apm_definer, apm_engine;

-- What is wrong with matchers; null: nothing. Expressions are those that RE2 and PostgreSQL read alike and that neither
-- can be made to labour over: no counts, no back references, no look-around, and at most 200 characters.
create function apm_private.fault_of_matchers(matchers jsonb, fewest int) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    matcher jsonb;
    wanted text;
    bare text;
    severities constant text[] := enum_range(null::public.alert_severity);
begin
    if jsonb_typeof(fault_of_matchers.matchers) is distinct from 'array' then
        return 'must be a list';
    end if;
    if jsonb_array_length(fault_of_matchers.matchers) not between fault_of_matchers.fewest and 20 then
        return format('needs %s to 20 matchers', fault_of_matchers.fewest);
    end if;
    for matcher in select m from jsonb_array_elements(fault_of_matchers.matchers) as m
    loop
        if jsonb_typeof(matcher) <> 'object' then
            return 'a matcher has a label, an operator (=, !=, =~ or !~) and a value';
        end if;
        wanted := matcher ->> 'value';
        if jsonb_typeof(matcher -> 'value') is distinct from 'string' or length(wanted) > 1024
            or jsonb_typeof(matcher -> 'label') is distinct from 'string'
            or coalesce(matcher ->> 'operator', '') not in ('=', '!=', '=~', '!~')
            or matcher - array['label', 'operator', 'value'] <> '{}' then
            return 'a matcher has a label, an operator (=, !=, =~ or !~) and a value of 1024 characters at most';
        end if;
        if matcher ->> 'label' !~ '^(service|metric|rule|severity|tag\..{1,128})$' then
            return 'a label is service, metric, rule, severity or tag.<name>';
        end if;
        -- its values are known: what is none of them is a slip, and would match nothing, or everything
        if matcher ->> 'label' = 'severity' and wanted <> '' and matcher ->> 'operator' in ('=', '!=')
            and wanted <> all (severities) then
            return 'severity is ' || array_to_string(severities, ', ');
        end if;
        if matcher ->> 'operator' in ('=~', '!~') then
            if length(wanted) > 200 then
                return 'an expression has at most 200 characters';
            end if;
            -- escaped punctuation and classes are one character each from here on
            bare := regexp_replace(wanted, '\\[^[:alnum:][:space:]]', 'x', 'g');
            bare := regexp_replace(bare, '\[\^?[^][\\^]+\]', 'x', 'g');
            if bare ~ '[][{}^$\\]|\(\?|[*+?]{2}|(^|[(|])[*+?]' then
                return 'an expression has literals, ., classes, groups, |, *, + and ? and nothing else';
            end if;
            begin
                perform '' ~ ('^(?:' || wanted || ')$');
            exception when invalid_regular_expression then
                return 'an expression cannot be read';
            end;
            if matcher ->> 'label' = 'severity'
                and not exists (select from unnest(array_append(severities, '')) as s (one) where s.one ~ ('^(?:' || wanted || ')$')) then
                return 'severity is ' || array_to_string(severities, ', ');
            end if;
        end if;
    end loop;
    return null;
end
$$;
revoke all on function apm_private.fault_of_matchers(jsonb, int) from public, anon, authenticated, service_role;
grant execute on function apm_private.fault_of_matchers(jsonb, int) to apm_definer;

-- One row for each wedding that has a window in the range, from its first window there to the end of its last.
create function apm_private.weddings_in_the_way(organization_id uuid, earliest timestamptz, latest timestamptz)
returns table (wedding_id uuid, wedding_date date, initials text, starts_at timestamptz, ends_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.wedding_id, w.wedding_date, max(d.initials), min(lower(w.span)), max(upper(w.span))
    from apm_private.wedding_windows_between(
        array[weddings_in_the_way.organization_id], weddings_in_the_way.earliest, weddings_in_the_way.latest
    ) as w
    left join apm_private.weddings_between(
        array[weddings_in_the_way.organization_id],
        (weddings_in_the_way.earliest at time zone 'UTC')::date - 3, (weddings_in_the_way.latest at time zone 'UTC')::date + 3
    ) as d on d.wedding_id = w.wedding_id
    where w.phase in ('set_up', 'ceremony', 'reception', 'tear_down', 'day')
        and w.span && tstzrange(weddings_in_the_way.earliest, weddings_in_the_way.latest)
    group by w.wedding_id, w.wedding_date
    order by min(lower(w.span)), w.wedding_id
$$;
call apm_private.hand_over('apm_private.weddings_in_the_way(uuid, timestamptz, timestamptz)');

create function apm_private.is_wedding_at(organization_id uuid, at timestamptz) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from apm_private.wedding_windows_between(array[is_wedding_at.organization_id], is_wedding_at.at, is_wedding_at.at) as w
        where w.phase in ('set_up', 'ceremony', 'reception', 'tear_down', 'day') and w.span @> is_wedding_at.at
    )
$$;
call apm_private.hand_over('apm_private.is_wedding_at(uuid, timestamptz)');

-- A wedding at its time: another mark where it moves or one of its phases does. Who said yes or no said it to that.
create function apm_private.wedding_mark(organization_id uuid, wedding_id uuid, wedding_date date) returns uuid
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select md5(concat_ws(' ', wedding_mark.wedding_id, wedding_mark.wedding_date, string_agg(
        concat_ws(' ', w.phase, extract(epoch from lower(w.span)), extract(epoch from upper(w.span))), ' ' order by w.phase, w.span
    )))::uuid
    from apm_private.wedding_windows_between(
        array[wedding_mark.organization_id], (wedding_mark.wedding_date - 3)::timestamp at time zone 'UTC',
        (wedding_mark.wedding_date + 4)::timestamp at time zone 'UTC'
    ) as w
    where w.wedding_id = wedding_mark.wedding_id
$$;
call apm_private.hand_over('apm_private.wedding_mark(uuid, uuid, date)');

-- Whether the caller asked: himself, or by a key that he made, or that such a key made.
create function public.apm_is_own(asked_by uuid) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with recursive askers as (
        select apm_is_own.asked_by as id
        union
        select k.created_by from askers as a join public.apm_api_keys as k on k.id = a.id
        where k.created_by is not null
    )
    select exists (select from askers as a where a.id is not distinct from apm_private.caller_id())
$$;
call apm_private.hand_over('public.apm_is_own(uuid)');
grant execute on function public.apm_is_own(uuid) to authenticated;

create table public.apm_silences (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    matchers jsonb not null,
    starts_at timestamptz not null default now(),
    ends_at timestamptz not null,
    reason text not null check (length(btrim(reason)) between 1 and 1000),
    -- who answers for it: whoever made it, unless another name was given
    owner text not null check (length(btrim(owner)) between 1 and 200),
    -- it lay over a wedding when it was made: a second person must have said yes before it works
    needs_approval boolean not null default false,
    approved_at timestamptz,
    approved_by uuid,
    approved_by_name text,
    -- the marks of the weddings that the second person saw; the window of any other, or at another time, ends the silence
    approved_weddings uuid[] not null default '{}',
    -- ended early
    expired_at timestamptz,
    expired_by uuid,
    expired_by_name text,
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_silences_span check (ends_at > starts_at and ends_at <= starts_at + interval '90 days'),
    constraint apm_silences_approval check ((approved_at is null) = (approved_by_name is null))
);
call apm_private.protect_table('public.apm_silences');
create trigger apm_silences_audit after insert or update or delete on public.apm_silences
for each row execute function apm_private.write_audit();
-- find_silence: by its id alone
create index idx_apm_silences_id on public.apm_silences (id);
-- held_back_by: those that may hold something back now
create index idx_apm_silences_organization_ends on public.apm_silences (organization_id, ends_at);
-- list_silences
create index idx_apm_silences_organization_created on public.apm_silences (organization_id, created_at desc, id desc);
grant select on public.apm_silences to authenticated;
grant insert (organization_id, matchers, starts_at, ends_at, reason, owner) on public.apm_silences to authenticated;
create policy apm_silences_authenticated_select on public.apm_silences for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_silences_authenticated_insert on public.apm_silences for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[]));

-- A silence of a day or less that lies over a wedding waits for a second person; a longer one needs none, because it ends
-- where the next wedding begins, so it must not begin in one.
create function apm_private.prepare_silence() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
    fault text := apm_private.fault_of_matchers(new.matchers, 1);
begin
    if fault is not null then
        raise exception '%', fault using errcode = 'check_violation', constraint = 'matchers', table = 'apm_silences';
    end if;
    -- as in Alertmanager: what matches an incident without any label would silence all
    if apm_private.do_matchers_match(new.matchers, '{}') then
        raise exception 'at least one matcher must not match the empty text'
            using errcode = 'check_violation', constraint = 'matchers', table = 'apm_silences';
    end if;
    if new.ends_at <= at then
        raise exception 'lies in the past' using errcode = 'check_violation', constraint = 'ends_at', table = 'apm_silences';
    end if;
    if new.ends_at > new.starts_at + interval '90 days' then
        raise exception 'a silence lasts 90 days at most'
            using errcode = 'check_violation', constraint = 'ends_at', table = 'apm_silences';
    end if;
    new.owner := coalesce(new.owner, apm_private.actor_name());
    new.created_by := apm_private.caller_id();
    new.needs_approval := new.ends_at <= new.starts_at + interval '24 hours' and exists (
        select from apm_private.weddings_in_the_way(new.organization_id, new.starts_at, new.ends_at)
    );
    if new.ends_at > new.starts_at + interval '24 hours' and apm_private.is_wedding_at(new.organization_id, new.starts_at) then
        raise exception 'a wedding is under way then: a silence over it lasts 24 hours at most, and a second person approves it'
            using errcode = 'check_violation', constraint = 'starts_at', table = 'apm_silences';
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.prepare_silence()');
create trigger apm_silences_prepare before insert on public.apm_silences
for each row execute function apm_private.prepare_silence();

-- When a silence stops working: its end, early or not, or the first wedding that nobody approved it for.
create function apm_private.end_of_silence(silence public.apm_silences)
returns timestamptz
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select least(silence.ends_at, silence.expired_at, (
        select min(greatest(w.starts_at, silence.starts_at))
        from apm_private.weddings_in_the_way(silence.organization_id, silence.starts_at, silence.ends_at) as w
        where case when silence.approved_weddings = '{}' then true
            else apm_private.wedding_mark(silence.organization_id, w.wedding_id, w.wedding_date)
                <> all (silence.approved_weddings) end
    ))
$$;
call apm_private.hand_over('apm_private.end_of_silence(public.apm_silences)');

-- A silence as it stands at an instant: needs_approval, scheduled, active or ended, until when it works, and the weddings
-- that it lies over. Nothing for a silence that the caller may not see.
create function public.apm_silence_at(silence_id uuid, at timestamptz default now())
returns table (state text, works_until timestamptz, weddings jsonb)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select case
            when apm_silence_at.at >= least(s.ends_at, s.expired_at) then 'ended'
            when s.needs_approval and s.approved_at is null then 'needs_approval'
            when apm_silence_at.at >= e.works_until then 'ended'
            when apm_silence_at.at < s.starts_at then 'scheduled'
            else 'active'
        end,
        case when not s.needs_approval or s.approved_at is not null then e.works_until end,
        (
            select coalesce(jsonb_agg(jsonb_build_object(
                'wedding_id', w.wedding_id, 'wedding_date', w.wedding_date, 'initials', coalesce(w.initials, ''),
                'starts_at', w.starts_at, 'ends_at', w.ends_at,
                'is_approved', apm_private.wedding_mark(s.organization_id, w.wedding_id, w.wedding_date) = any (s.approved_weddings)
            ) order by w.starts_at), '[]')
            from apm_private.weddings_in_the_way(s.organization_id, s.starts_at, s.ends_at) as w
        )
    from public.apm_silences as s
    cross join lateral (select apm_private.end_of_silence(s)) as e (works_until)
    where s.id = apm_silence_at.silence_id
        and (apm_private.is_service() or s.organization_id = any (public.apm_current_organization_ids()))
$$;
call apm_private.hand_over('public.apm_silence_at(uuid, timestamptz)');
grant execute on function public.apm_silence_at(uuid, timestamptz) to authenticated;

-- The silence, locked, for somebody who may act on it; the same answer for another's and for none.
create function apm_private.lock_silence(silence_id uuid) returns public.apm_silences
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    silence public.apm_silences%rowtype;
    standing text;
begin
    select s.* into silence from public.apm_silences as s where s.id = lock_silence.silence_id for update;
    standing := public.apm_role_in(silence.organization_id);
    if silence.id is null or (standing is null and coalesce(public.apm_operator_role(), '') <> 'oncall') then
        raise exception 'There is no such silence.' using errcode = 'AP404';
    end if;
    if standing = 'VIEWER' then
        raise exception 'Viewers can look at silences, not change them.' using errcode = 'AP403';
    end if;
    return silence;
end
$$;
call apm_private.hand_over('apm_private.lock_silence(uuid)');

-- The second person says yes, having seen the weddings that the silence lies over at this moment.
create function public.apm_approve_silence(silence_id uuid, at timestamptz default now()) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    silence public.apm_silences%rowtype := apm_private.lock_silence(apm_approve_silence.silence_id);
begin
    if not silence.needs_approval or silence.approved_at is not null then
        raise exception 'This silence waits for no approval.' using errcode = 'AP409', constraint = 'apm_silences_approve';
    end if;
    if least(silence.ends_at, silence.expired_at) <= apm_approve_silence.at then
        raise exception 'This silence is over.' using errcode = 'AP409', constraint = 'apm_silences_approve';
    end if;
    if apm_private.claims() ->> 'kind' = 'key' or public.apm_is_own(silence.created_by) then
        raise exception 'A second person must approve it: not whoever made it, himself or by a key, and no key.'
            using errcode = 'AP403';
    end if;
    update public.apm_silences as s set
        approved_at = apm_approve_silence.at,
        approved_by = apm_private.caller_id(),
        approved_by_name = apm_private.actor_name(),
        approved_weddings = array(
            select apm_private.wedding_mark(s.organization_id, w.wedding_id, w.wedding_date)
            from apm_private.weddings_in_the_way(s.organization_id, s.starts_at, s.ends_at) as w
        )
    where s.organization_id = silence.organization_id and s.id = silence.id;
end
$$;
call apm_private.hand_over('public.apm_approve_silence(uuid, timestamptz)');

create function public.apm_expire_silence(silence_id uuid, at timestamptz default now()) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    silence public.apm_silences%rowtype := apm_private.lock_silence(apm_expire_silence.silence_id);
begin
    if least(silence.ends_at, silence.expired_at) <= apm_expire_silence.at then
        raise exception 'This silence is over.' using errcode = 'AP409', constraint = 'apm_silences_expire';
    end if;
    update public.apm_silences as s set
        expired_at = apm_expire_silence.at,
        expired_by = apm_private.caller_id(),
        expired_by_name = apm_private.actor_name()
    where s.organization_id = silence.organization_id and s.id = silence.id;
    -- what it held back is looked at at once, and not when its turn comes
    update public.apm_escalation_runs as r set held_until = null
    where r.organization_id = silence.organization_id and r.state = 'running' and r.held_by ->> 'id' = silence.id::text;
end
$$;
call apm_private.hand_over('public.apm_expire_silence(uuid, timestamptz)');
grant execute on function public.apm_approve_silence(uuid, timestamptz), public.apm_expire_silence(uuid, timestamptz)
    to authenticated;
