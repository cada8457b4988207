-- name_actor [apm_engine] --
-- What the audit log calls whoever acts on this connection.
select set_config('request.jwt.claims', jsonb_build_object('name', %(name)s::text)::text, false)

-- create_organization [apm_engine] --
-- A new organization; nothing if the id is taken.
insert into public.organizations (id, name, settings)
values (
    coalesce(%(organization_id)s::uuid, gen_random_uuid()),
    %(name)s::text,
    jsonb_strip_nulls(jsonb_build_object(
        'timezone', %(time_zone)s::text, 'vendor_type', %(vendor_type)s::text, 'help_line', %(help_line)s::text
    ))
)
on conflict (id) do nothing
returning id

-- list_organizations [apm_engine] --
-- Every organization with its people and keys, by name.
select
    o.organization_id as id,
    o.name,
    o.time_zone,
    o.vendor_type,
    (
        select count(distinct m.user_id)
        from (
            select p.user_id from public.user_profiles as p where p.organization_id = o.organization_id
            union all
            select a.user_id from public.apm_memberships as a where a.organization_id = o.organization_id
        ) as m
    ) as member_count,
    (
        select count(*) from public.apm_api_keys as k
        where k.organization_id = o.organization_id and k.revoked_at is null
            and (k.expires_at is null or k.expires_at > now())
    ) as key_count,
    h.created_at
from apm_private.host_organizations(null) as o
join public.organizations as h on h.id = o.organization_id
order by o.name, o.organization_id

-- find_organization [apm_engine] --
-- Whether there is one of this id.
select o.organization_id as id, o.name
from apm_private.host_organizations(array[%(organization_id)s::uuid]) as o

-- create_user [apm_engine] --
-- A login; nothing if the address is taken.
insert into apm_private.users (id, email, display_name, password_hash)
values (
    coalesce(%(user_id)s::uuid, gen_random_uuid()), %(email)s::text, %(display_name)s::text, %(password_hash)s::text
)
on conflict (email) do nothing
returning id, email, display_name, token_generation, disabled_at is not null as is_disabled

-- find_user [apm_engine] --
-- A login by its address.
select id, email, display_name, token_generation, disabled_at is not null as is_disabled
from apm_private.users
where email = %(email)s::text

-- set_password [apm_engine] --
-- A new password ends every session that the old one began.
update apm_private.users
set password_hash = %(password_hash)s::text, token_generation = token_generation + 1
where email = %(email)s::text
returning id, email, display_name, token_generation, disabled_at is not null as is_disabled

-- disable_user [apm_engine] --
-- Closes an account and ends its sessions; a second time changes nothing.
update apm_private.users
set
    disabled_at = coalesce(disabled_at, now()),
    token_generation = token_generation + (disabled_at is null)::int
where email = %(email)s::text
returning id, email, display_name, token_generation, disabled_at is not null as is_disabled

-- create_profile [apm_engine] --
-- The first organization of a person stands where the host keeps it.
insert into public.user_profiles (user_id, organization_id, role, first_name, timezone)
values (
    %(user_id)s::uuid, %(organization_id)s::uuid, %(role)s::text, %(display_name)s::text, %(time_zone)s::text
)
on conflict (user_id) do nothing
returning user_id

-- create_membership [apm_engine] --
-- Further ones stand in our own table; the role of one that is there already is set.
insert into public.apm_memberships (organization_id, user_id, role)
values (%(organization_id)s::uuid, %(user_id)s::uuid, %(role)s::text)
on conflict (organization_id, user_id) do update set role = excluded.role
returning user_id

-- create_operator [apm_engine] --
-- Makes a person an operator, or gives an operator another role.
insert into public.apm_operators (user_id, email, role)
values (%(user_id)s::uuid, %(email)s::text, %(role)s::text)
on conflict (user_id) do update set role = excluded.role, disabled_at = null
returning user_id, email, role

-- create_key [apm_engine] --
-- A key for one organization, or with none a platform key.
insert into public.apm_api_keys (organization_id, name, scope, is_platform, key_hash, prefix, expires_at)
values (
    %(organization_id)s::uuid, %(name)s::text, %(scope)s::text, %(organization_id)s::uuid is null,
    %(key_hash)s::bytea, %(prefix)s::text, now() + %(expires_in)s::interval
)
returning id

-- find_key [apm_engine] --
-- A key by what is kept of it, if it still opens something.
select id
from public.apm_api_keys
where key_hash = %(key_hash)s::bytea and revoked_at is null and (expires_at is null or expires_at > now())

-- find_platform [apm_engine] --
-- The organization in which the platform watches itself.
select organization_id
from apm_private.platform

-- set_platform [apm_engine] --
-- Chooses it, once.
insert into apm_private.platform (organization_id)
values (%(organization_id)s::uuid)
on conflict (is_only) do nothing
returning organization_id

-- put_key [apm_engine] --
-- A key whose secret was made before the database knew of it; one that is there stays as it is.
insert into public.apm_api_keys (organization_id, name, scope, is_platform, key_hash, prefix)
values (
    %(organization_id)s::uuid, %(name)s::text, %(scope)s::text, %(organization_id)s::uuid is null,
    %(key_hash)s::bytea, %(prefix)s::text
)
on conflict (key_hash) do nothing

-- count_users [apm_engine] --
-- Whether anybody can sign in.
select count(*) as users
from apm_private.users
where disabled_at is null

-- put_dashboard [apm_engine] --
-- A dashboard to begin with; one of that name stays as people have made it, and so does their default one.
insert into public.apm_dashboards (organization_id, name, description, layout, variables, template_key, is_default)
values (
    %(organization_id)s::uuid, %(name)s::text, %(description)s::text, %(layout)s::jsonb, %(variables)s::jsonb,
    %(template_key)s::text, %(is_default)s::boolean
)
on conflict do nothing

-- put_rule [apm_engine] --
-- A rule to begin with; one of that name stays as people have made it.
insert into public.apm_alerts (
    organization_id, alert_name, description, metric_pattern, tag_filter, aggregation, comparison_operator,
    threshold_value, evaluation_window, for_duration, clear_threshold_value, no_data_policy, severity,
    notification_channels, wedding_day_override, wedding_day_threshold_value, wedding_day_severity, cooldown_period,
    auto_resolve, is_active, vendor_text, rule_kind, tag_selectors, group_by, keep_firing_for, stale_policy,
    wedding_factors, wedding_thresholds, flap_changes, flap_window, opens_incident, denominator_pattern,
    denominator_selectors, objective, short_window, baseline, baseline_weeks, horizon
)
values (
    %(organization_id)s::uuid, %(alert_name)s::text, %(description)s::text, %(metric_pattern)s::text,
    %(tag_filter)s::jsonb, %(aggregation)s::text, %(comparison_operator)s::text, %(threshold_value)s::float8,
    %(evaluation_window)s::interval, %(for_duration)s::interval, %(clear_threshold_value)s::float8,
    %(no_data_policy)s::text, %(severity)s::public.alert_severity,
    %(notification_channels)s::public.notification_channel[], %(wedding_day_override)s::boolean,
    %(wedding_day_threshold_value)s::float8, %(wedding_day_severity)s::public.alert_severity,
    %(cooldown_period)s::interval, %(auto_resolve)s::boolean, %(is_active)s::boolean, %(vendor_text)s::jsonb,
    %(rule_kind)s::text, %(tag_selectors)s::jsonb, %(group_by)s::text[], %(keep_firing_for)s::interval,
    %(stale_policy)s::text, %(wedding_factors)s::jsonb, %(wedding_thresholds)s::jsonb, %(flap_changes)s::int,
    %(flap_window)s::interval, %(opens_incident)s::boolean, %(denominator_pattern)s::text,
    %(denominator_selectors)s::jsonb, %(objective)s::float8, %(short_window)s::interval, %(baseline)s::text,
    %(baseline_weeks)s::int, %(horizon)s::interval
)
on conflict (organization_id, alert_name) do nothing

-- put_check [apm_engine] --
-- A service to watch; one of that name only learns where it is reached now.
insert into public.service_health_checks (
    organization_id, service_name, display_name, service_type, endpoint_url, source_metric, wedding_critical,
    vendor_facing, couple_facing, check_interval, timeout_seconds, expected_status_codes, response_time_threshold_ms
)
values (
    %(organization_id)s::uuid, %(service_name)s::text, %(display_name)s::text, %(service_type)s::text,
    %(endpoint_url)s::text, %(source_metric)s::text, %(wedding_critical)s::boolean, %(vendor_facing)s::boolean,
    %(couple_facing)s::boolean, make_interval(secs => %(check_seconds)s::float8), %(timeout_seconds)s::float8,
    %(expected_status_codes)s::int[], %(response_time_threshold_ms)s::float8
)
on conflict (organization_id, service_name) do update set endpoint_url = excluded.endpoint_url
where service_health_checks.endpoint_url is distinct from excluded.endpoint_url

-- put_contact [apm_engine] --
-- Whom to reach; one of that id stays as people have made it.
insert into public.apm_contact_methods (organization_id, id, user_id, name, channel, address, verified_at)
values (
    %(organization_id)s::uuid, %(contact_id)s::uuid, %(user_id)s::uuid, %(name)s::text,
    %(channel)s::public.notification_channel, %(address)s::text, now()
)
on conflict (organization_id, id) do nothing

-- put_ladder [apm_engine] --
-- An organization's default ladder with a step for each position; one of that name stays as it is.
with policy as (
    insert into public.apm_escalation_policies (organization_id, name, is_default, repeat_count)
    values (%(organization_id)s::uuid, %(name)s::text, true, %(repeat_count)s::int)
    on conflict (organization_id, name) do nothing
    returning organization_id, id
), steps as (
    insert into public.apm_escalation_steps (organization_id, policy_id, position, level, delay, wedding_delay)
    select p.organization_id, p.id, s.position, s.level::public.escalation_level,
        make_interval(secs => s.delay_seconds), make_interval(secs => s.wedding_delay_seconds)
    from policy as p
    cross join unnest(%(levels)s::text[], %(delays)s::float8[], %(wedding_delays)s::float8[])
        with ordinality as s (level, delay_seconds, wedding_delay_seconds, position)
    returning organization_id, id, position
)
insert into public.apm_escalation_targets (organization_id, step_id, contact_method_id)
select s.organization_id, s.id, t.contact_id
from steps as s
join unnest(%(target_positions)s::int[], %(target_ids)s::uuid[]) as t (position, contact_id)
    on t.position = s.position

-- put_wedding [apm_engine] --
-- A simulated wedding on its date, or moved to another one; what people entered themselves is never touched.
insert into public.apm_weddings as w (
    organization_id, id, couple_initials, venue_name, wedding_date, time_zone, status, source
)
values (
    %(organization_id)s::uuid, %(wedding_id)s::uuid, %(couple_initials)s::text, %(venue_name)s::text,
    %(wedding_date)s::date, %(time_zone)s::text, %(status)s::text, 'simulated'
)
on conflict (organization_id, id) do update set
    couple_initials = excluded.couple_initials, venue_name = excluded.venue_name, wedding_date = excluded.wedding_date,
    time_zone = excluded.time_zone, status = excluded.status
where w.source = 'simulated'
    and (w.wedding_date, w.time_zone, w.status, w.venue_name)
        is distinct from (excluded.wedding_date, excluded.time_zone, excluded.status, excluded.venue_name)

-- put_wedding_people [apm_engine] --
-- Who marries.
insert into public.apm_wedding_people (organization_id, wedding_id, couple_names)
values (%(organization_id)s::uuid, %(wedding_id)s::uuid, %(couple_names)s::text)
on conflict (organization_id, wedding_id) do nothing

-- put_wedding_windows [apm_engine] --
-- The phases of a simulated wedding.
insert into public.apm_wedding_windows (organization_id, wedding_id, phase, span)
select %(organization_id)s::uuid, %(wedding_id)s::uuid, p.phase, tstzrange(p.starts_at, p.ends_at)
from unnest(%(phases)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) as p (phase, starts_at, ends_at)
on conflict (organization_id, wedding_id, phase) do update set span = excluded.span

-- read_clock [apm_engine] --
-- The database's clock decides.
select now() as at
