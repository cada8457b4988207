-- Rules as people keep them (authenticated), and as the engine judges them (apm_engine, each with its predicate).

-- list_rules --
-- The rules page: the caller's organizations, or one of them.
select r.*, r.notification_channels::text[] as notification_channels
from public.apm_alerts as r
where %(organization_id)s::uuid is null or r.organization_id = %(organization_id)s::uuid
order by r.alert_name, r.id

-- find_rule --
-- One rule, if the caller may see it.
select r.*, r.notification_channels::text[] as notification_channels
from public.apm_alerts as r
where r.id = %(rule_id)s::uuid

-- create_rule --
-- A new rule of one organization.
insert into public.apm_alerts (
    organization_id, alert_name, description, metric_pattern, tag_filter, aggregation, comparison_operator,
    threshold_value, evaluation_window, for_duration, clear_threshold_value, no_data_policy, severity,
    notification_channels, wedding_day_override, wedding_day_threshold_value, wedding_day_severity, cooldown_period,
    auto_resolve, is_active, vendor_text, created_by
) values (
    %(organization_id)s::uuid, %(alert_name)s::text, %(description)s::text, %(metric_pattern)s::text,
    %(tag_filter)s::jsonb, %(aggregation)s::text, %(comparison_operator)s::text, %(threshold_value)s::float8,
    %(evaluation_window)s::interval, %(for_duration)s::interval, %(clear_threshold_value)s::float8,
    %(no_data_policy)s::text, %(severity)s::public.alert_severity,
    %(notification_channels)s::public.notification_channel[], %(wedding_day_override)s::boolean,
    %(wedding_day_threshold_value)s::float8, %(wedding_day_severity)s::public.alert_severity,
    %(cooldown_period)s::interval, %(auto_resolve)s::boolean, %(is_active)s::boolean, %(vendor_text)s::jsonb,
    auth.uid()
)
returning *, notification_channels::text[] as notification_channels

-- update_rule --
-- The whole rule as it shall be.
update public.apm_alerts as r set
    alert_name = %(alert_name)s::text,
    description = %(description)s::text,
    metric_pattern = %(metric_pattern)s::text,
    tag_filter = %(tag_filter)s::jsonb,
    aggregation = %(aggregation)s::text,
    comparison_operator = %(comparison_operator)s::text,
    threshold_value = %(threshold_value)s::float8,
    evaluation_window = %(evaluation_window)s::interval,
    for_duration = %(for_duration)s::interval,
    clear_threshold_value = %(clear_threshold_value)s::float8,
    no_data_policy = %(no_data_policy)s::text,
    severity = %(severity)s::public.alert_severity,
    notification_channels = %(notification_channels)s::public.notification_channel[],
    wedding_day_override = %(wedding_day_override)s::boolean,
    wedding_day_threshold_value = %(wedding_day_threshold_value)s::float8,
    wedding_day_severity = %(wedding_day_severity)s::public.alert_severity,
    cooldown_period = %(cooldown_period)s::interval,
    auto_resolve = %(auto_resolve)s::boolean,
    is_active = %(is_active)s::boolean,
    vendor_text = %(vendor_text)s::jsonb
where r.id = %(rule_id)s::uuid
returning *, notification_channels::text[] as notification_channels

-- delete_rule --
-- The rule and its verdicts; its incidents stay.
delete from public.apm_alerts as r where r.id = %(rule_id)s::uuid returning r.id

-- list_verdicts --
-- Where each series of a rule stands, the alarming ones first.
select s.*, c.service_name, c.metric_name, c.tags, c.unit
from public.apm_alert_states as s
left join public.apm_series as c on c.organization_id = s.organization_id and c.id = s.series_id
where s.organization_id = %(organization_id)s::uuid and s.alert_id = %(rule_id)s::uuid
order by array_position(array['firing', 'no_data', 'pending', 'ok'], s.state), c.service_name, c.metric_name, s.series_id

-- list_named_series --
-- An organization's series, to see which ones a rule watches.
select s.id, s.service_name, s.metric_name, s.tags, s.unit, s.ended_at
from public.apm_series as s
where s.organization_id = %(organization_id)s::uuid
order by s.id

-- read_windows --
-- The samples of some series in (after, until], each series as arrays, for explaining a verdict.
select w.series_id,
    array_agg((extract(epoch from w."timestamp") * 1000)::bigint) as times_ms,
    array_agg(w.metric_value) as sample_values,
    array_agg(coalesce((w.wedding_context ->> 'is_wedding_day')::boolean, false)) as declared
from public.apm_samples_between(%(after)s::timestamptz, %(until)s::timestamptz + interval '1 millisecond') as w
where w.organization_id = %(organization_id)s::uuid
    and w.series_id = any (%(series_ids)s::int[])
    and w."timestamp" > %(after)s::timestamptz
group by w.series_id

-- find_wedding_now --
-- The wedding window under way at an instant, as the caller may know it.
select w.wedding_id, w.phase, lower(w.span) as starts_at, upper(w.span) as ends_at
from public.wedding_window_at(%(organization_id)s::uuid, %(at)s::timestamptz) as w
limit 1

-- fingerprint_rules [apm_engine] --
-- Changes when any rule does. No greatest updated_at: two changes may commit in the other order than they were stamped.
select count(*) as rules, coalesce(bit_xor(hashtextextended(r.id::text || r.updated_at::text, 0)), 0) as fingerprint
from public.apm_alerts as r

-- list_active_rules [apm_engine] --
-- Everything to evaluate, over all organizations.
select r.*, r.notification_channels::text[] as notification_channels
from public.apm_alerts as r
where r.is_active
order by r.organization_id, r.id

-- list_newest_series [apm_engine] --
-- The greatest series id of each organization: it grows with every new series, one maker at a time.
select o.organization_id, (
    select max(s.id) from public.apm_series as s where s.organization_id = o.organization_id
) as newest_id
from unnest(%(organization_ids)s::uuid[]) as o (organization_id)

-- list_series_after [apm_engine] --
-- An organization's series that are newer than those already known.
select s.id, s.service_name, s.metric_name, s.tags
from public.apm_series as s
where s.organization_id = %(organization_id)s::uuid and s.id > %(after_id)s::int
order by s.id

-- list_unsettled_organizations [apm_engine] --
-- Organizations with a verdict that is not ok: these are judged each second, samples or not.
select distinct s.organization_id
from public.apm_alert_states as s
where s.state <> 'ok'

-- list_standings [apm_engine] --
-- The last verdicts of some organizations.
select s.*
from public.apm_alert_states as s
where s.organization_id = any (%(organization_ids)s::uuid[])
order by s.organization_id, s.alert_id, s.series_id

-- list_windows [apm_engine] --
-- The finite samples of some series in (after, until], each series as arrays, with what is known of the series.
-- The arrays are made once, apart: beside the catalogue they would be made anew for each of its rows.
with w as materialized (
    select b.series_id,
        array_agg((extract(epoch from b."timestamp") * 1000)::bigint) as times_ms,
        array_agg(b.metric_value) as sample_values,
        array_agg(coalesce((b.wedding_context ->> 'is_wedding_day')::boolean, false)) as declared
    from public.apm_samples_between(%(after)s::timestamptz, %(until)s::timestamptz + interval '1 millisecond') as b
    where b.organization_id = %(organization_id)s::uuid
        and b.series_id = any (%(series_ids)s::int[])
        and b."timestamp" > %(after)s::timestamptz
        and b.metric_value > '-infinity' and b.metric_value < 'infinity'
    group by b.series_id
)
select c.id as series_id, c.unit, c.ended_at, w.times_ms, w.sample_values, w.declared
from public.apm_series as c
left join w on w.series_id = c.id
where c.organization_id = %(organization_id)s::uuid and c.id = any (%(series_ids)s::int[])

-- list_wedding_windows [apm_engine] --
-- The wedding calendar of some organizations around the present, phases and days.
select w.organization_id, w.wedding_id, w.phase, lower(w.span) as starts_at, upper(w.span) as ends_at, w.precedence
from apm_private.wedding_windows_between(
    %(organization_ids)s::uuid[], %(earliest)s::timestamptz, %(latest)s::timestamptz
) as w

-- upsert_standings [apm_engine] --
-- The verdicts of one organization as they are now.
insert into public.apm_alert_states (
    organization_id, alert_id, series_id, state, metric_value, threshold_value, threshold_source, phase, wedding_id,
    sample_count, pending_since, firing_since, changed_at, evaluated_at
)
select %(organization_id)s::uuid, u.*
from unnest(
    %(alert_ids)s::uuid[], %(series_ids)s::int[], %(states)s::text[], %(metric_values)s::float8[],
    %(threshold_values)s::float8[], %(threshold_sources)s::text[], %(phases)s::text[], %(wedding_ids)s::uuid[],
    %(sample_counts)s::int[], %(pending_since)s::timestamptz[], %(firing_since)s::timestamptz[],
    %(changed_at)s::timestamptz[], %(evaluated_at)s::timestamptz[]
) as u (
    alert_id, series_id, state, metric_value, threshold_value, threshold_source, phase, wedding_id, sample_count,
    pending_since, firing_since, changed_at, evaluated_at
)
-- a rule that is deleted at this moment takes its verdicts with it
where exists (
    select from public.apm_alerts as r
    where r.organization_id = %(organization_id)s::uuid and r.id = u.alert_id
    for key share
)
on conflict (organization_id, alert_id, series_id) do update set
    state = excluded.state, metric_value = excluded.metric_value, threshold_value = excluded.threshold_value,
    threshold_source = excluded.threshold_source, phase = excluded.phase, wedding_id = excluded.wedding_id,
    sample_count = excluded.sample_count, pending_since = excluded.pending_since,
    firing_since = excluded.firing_since, changed_at = excluded.changed_at, evaluated_at = excluded.evaluated_at

-- forget_standings [apm_engine] --
-- Verdicts whose rule watches the series no longer.
delete from public.apm_alert_states as s
using unnest(%(alert_ids)s::uuid[], %(series_ids)s::int[]) as u (alert_id, series_id)
where s.organization_id = %(organization_id)s::uuid and s.alert_id = u.alert_id and s.series_id = u.series_id
