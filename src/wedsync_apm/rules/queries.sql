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
    auto_resolve, is_active, vendor_text, rule_kind, tag_selectors, group_by, keep_firing_for, stale_policy,
    wedding_factors, wedding_thresholds, flap_changes, flap_window, opens_incident, denominator_pattern,
    denominator_selectors, objective, short_window, baseline, baseline_weeks, horizon, member_rule_ids, created_by
) values (
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
    %(baseline_weeks)s::int, %(horizon)s::interval, %(member_rule_ids)s::uuid[], auth.uid()
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
    vendor_text = %(vendor_text)s::jsonb,
    rule_kind = %(rule_kind)s::text,
    tag_selectors = %(tag_selectors)s::jsonb,
    group_by = %(group_by)s::text[],
    keep_firing_for = %(keep_firing_for)s::interval,
    stale_policy = %(stale_policy)s::text,
    wedding_factors = %(wedding_factors)s::jsonb,
    wedding_thresholds = %(wedding_thresholds)s::jsonb,
    flap_changes = %(flap_changes)s::int,
    flap_window = %(flap_window)s::interval,
    opens_incident = %(opens_incident)s::boolean,
    denominator_pattern = %(denominator_pattern)s::text,
    denominator_selectors = %(denominator_selectors)s::jsonb,
    objective = %(objective)s::float8,
    short_window = %(short_window)s::interval,
    baseline = %(baseline)s::text,
    baseline_weeks = %(baseline_weeks)s::int,
    horizon = %(horizon)s::interval,
    member_rule_ids = %(member_rule_ids)s::uuid[]
where r.id = %(rule_id)s::uuid
returning *, notification_channels::text[] as notification_channels

-- find_composite_of --
-- A composite rule that counts this one.
select r.alert_name
from public.apm_alerts as r
where r.organization_id = %(organization_id)s::uuid and %(rule_id)s::uuid = any (r.member_rule_ids)
order by r.alert_name
limit 1

-- delete_rule --
-- The rule and its verdicts; its incidents stay.
delete from public.apm_alerts as r where r.id = %(rule_id)s::uuid returning r.id

-- list_verdicts --
-- Where each series of a rule stands, the alarming ones first.
select s.*, c.service_name, c.metric_name, c.tags, c.unit
from public.apm_alert_states as s
left join public.apm_series as c on c.organization_id = s.organization_id and c.id = s.series_id
where s.organization_id = %(organization_id)s::uuid and s.alert_id = %(rule_id)s::uuid
order by array_position(array['firing', 'no_data', 'keeping', 'flapping', 'pending', 'ok'], s.state), c.service_name,
    c.metric_name, s.instance_key

-- list_unsettled_verdicts --
-- Every instance of an organization's rules that is not well, for callers that ask for all alerts at once.
select s.*, c.service_name, c.metric_name, c.tags, c.unit
from public.apm_alert_states as s
left join public.apm_series as c on c.organization_id = s.organization_id and c.id = s.series_id
where s.organization_id = %(organization_id)s::uuid and s.state <> 'ok'
order by s.alert_id, s.instance_key

-- list_named_series --
-- An organization's series, to see which ones a rule watches.
select s.id, s.service_name, s.metric_name, s.tags, s.unit, s.ended_at
from public.apm_series as s
where s.organization_id = %(organization_id)s::uuid
order by s.id

-- list_phases --
-- An organization's wedding calendar over a range, as the caller may know it: phases, days, what is near them, and the
-- platform's guard, which tells least.
select w.wedding_id, w.phase, lower(w.span) as starts_at, upper(w.span) as ends_at, w.precedence
from public.apm_wedding_phases(%(organization_id)s::uuid, %(earliest)s::timestamptz, %(latest)s::timestamptz) as w
union all
select null, g.kind, lower(g.span), upper(g.span), 100 + array_position(array['maximum', 'enhanced'], g.kind)
from public.apm_guard_spans(%(earliest)s::timestamptz, %(latest)s::timestamptz) as g
where g.kind in ('enhanced', 'maximum') and not isempty(g.span)

-- fingerprint_rules [apm_engine] --
-- Changes when any rule does, or who is watched. No greatest updated_at: two changes may commit in the other order than
-- they were stamped.
select count(*) as rules,
    coalesce(bit_xor(hashtextextended(r.id::text || r.updated_at::text, 0)), 0)
        # (select hashint8extended(d.version, 0) from apm_private.monitoring_default as d) as fingerprint
from public.apm_alerts as r

-- list_rule_fingerprints [apm_engine] --
-- The same for each organization that has rules and is watched.
select f.organization_id, f.rules, f.fingerprint
from (
    select r.organization_id, count(*) as rules,
        bit_xor(hashtextextended(r.id::text || r.updated_at::text, 0)) as fingerprint
    from public.apm_alerts as r
    group by r.organization_id
    -- asked once for each, not for each of its rules
    offset 0
) as f
where apm_private.is_watched(f.organization_id)

-- list_active_rules [apm_engine] --
-- Everything to evaluate for some organizations.
select r.*, r.notification_channels::text[] as notification_channels
from public.apm_alerts as r
where r.organization_id = any (%(organization_ids)s::uuid[]) and r.is_active and apm_private.is_watched(r.organization_id)
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
order by s.organization_id, s.alert_id, s.instance_key

-- list_windows --
-- For people and for the engine: the finite samples of some series in (after, until], each series as arrays, with what is known of the series.
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
-- The wedding calendar of some organizations: phases, days, what is near them, and the platform's guard, which tells least.
select w.organization_id, w.wedding_id, w.phase, lower(w.span) as starts_at, upper(w.span) as ends_at, w.precedence
from apm_private.wedding_phases_between(
    %(organization_ids)s::uuid[], %(earliest)s::timestamptz, %(latest)s::timestamptz
) as w
union all
select o.organization_id, null, g.kind, lower(g.span), upper(g.span),
    100 + array_position(array['maximum', 'enhanced'], g.kind)
from unnest(%(organization_ids)s::uuid[]) as o (organization_id)
cross join public.apm_guard_spans(%(earliest)s::timestamptz, %(latest)s::timestamptz) as g
where g.kind in ('enhanced', 'maximum') and not isempty(g.span)

-- upsert_standings [apm_engine] --
-- The verdicts of one organization as they are now, by the engine that holds its slice.
insert into public.apm_alert_states (
    organization_id, alert_id, instance_key, series_id, state, metric_value, threshold_value, threshold_source, phase,
    wedding_id, sample_count, pending_since, firing_since, changed_at, evaluated_at, keeping_since, alarmed_at, gap,
    labels, clear_value, factor, course, flips
)
select %(organization_id)s::uuid, u.alert_id, u.instance_key, u.series_id, u.state, u.metric_value, u.threshold_value,
    u.threshold_source, u.phase, u.wedding_id, u.sample_count, u.pending_since, u.firing_since, u.changed_at,
    u.evaluated_at, u.keeping_since, u.alarmed_at, u.gap, u.labels, u.clear_value, u.factor, u.course,
    -- arrays of an array's elements are one text each: those of unequal length have no place in one
    u.flips::timestamptz[]
from unnest(
    %(alert_ids)s::uuid[], %(instance_keys)s::text[], %(series_ids)s::int[], %(states)s::text[],
    %(metric_values)s::float8[], %(threshold_values)s::float8[], %(threshold_sources)s::text[], %(phases)s::text[],
    %(wedding_ids)s::uuid[], %(sample_counts)s::int[], %(pending_since)s::timestamptz[],
    %(firing_since)s::timestamptz[], %(changed_at)s::timestamptz[], %(evaluated_at)s::timestamptz[],
    %(keeping_since)s::timestamptz[], %(alarmed_at)s::timestamptz[], %(gaps)s::text[], %(labels)s::jsonb[],
    %(clear_values)s::float8[], %(factors)s::float8[], %(courses)s::jsonb[], %(flips)s::text[]
) as u (
    alert_id, instance_key, series_id, state, metric_value, threshold_value, threshold_source, phase, wedding_id,
    sample_count, pending_since, firing_since, changed_at, evaluated_at, keeping_since, alarmed_at, gap, labels,
    clear_value, factor, course, flips
)
-- a rule that is deleted at this moment takes its verdicts with it
where exists (
    select from public.apm_alerts as r
    where r.organization_id = %(organization_id)s::uuid and r.id = u.alert_id
    for key share
) and (
    select apm_private.hold_slices(%(engine)s::uuid, array[%(slice)s::int], array[%(generation)s::bigint])
)
on conflict (organization_id, alert_id, instance_key) do update set
    state = excluded.state, metric_value = excluded.metric_value, threshold_value = excluded.threshold_value,
    threshold_source = excluded.threshold_source, phase = excluded.phase, wedding_id = excluded.wedding_id,
    sample_count = excluded.sample_count, pending_since = excluded.pending_since,
    firing_since = excluded.firing_since, changed_at = excluded.changed_at, evaluated_at = excluded.evaluated_at,
    keeping_since = excluded.keeping_since, alarmed_at = excluded.alarmed_at, gap = excluded.gap,
    clear_value = excluded.clear_value, factor = excluded.factor, course = excluded.course,
    flips = excluded.flips

-- forget_standings [apm_engine] --
-- Verdicts on what is no instance of their rule any longer.
delete from public.apm_alert_states as s
using unnest(%(alert_ids)s::uuid[], %(instance_keys)s::text[]) as u (alert_id, instance_key)
where s.organization_id = %(organization_id)s::uuid and s.alert_id = u.alert_id and s.instance_key = u.instance_key

-- list_buckets --
-- For people and for the engine: what some series came to in each rollup of one width. A rollup from before there were
-- first values tells a counter's growth only by where it stood at the end.
select u.series_id, (extract(epoch from a.time_bucket) * 1000)::bigint as starts_ms, u.sample_count::int as count,
    u.sum_value as total, u.min_value as least, u.max_value as most, coalesce(u.first_value, u.last_value) as first,
    u.last_value as last, coalesce(u.increase, 0) as rise
from public.apm_metric_aggregations as a
cross join lateral unnest(
    a.series_ids, a.sample_counts, a.sum_values, a.min_values, a.max_values, a.first_values, a.last_values, a.increases
) as u (series_id, sample_count, sum_value, min_value, max_value, first_value, last_value, increase)
where a.organization_id = %(organization_id)s::uuid
    and a.time_bucket >= %(from)s::timestamptz
    and a.time_bucket < %(to)s::timestamptz
    and a.bucket_width = %(width)s::interval
    and u.series_id = any (%(series_ids)s::int[])
    and u.sample_count > 0
