-- pre: kinds of rules, conditions on tags, groups of series as instances, and what a verdict has to remember for them.

alter table public.apm_alerts
    add column rule_kind text not null default 'threshold'
        constraint apm_alerts_rule_kind_check
        check (rule_kind in ('threshold', 'ratio', 'change', 'burn_rate', 'deadline', 'composite')),
    -- [{"tag", "match": = | != | glob | in | absent, "values": [...]}], beside tag_filter
    add column tag_selectors jsonb not null default '[]'
        constraint apm_alerts_tag_selectors_check check (jsonb_typeof(tag_selectors) = 'array'),
    -- null: each series by itself; tags: an instance for each combination of their values; none: one for all
    add column group_by text[] constraint apm_alerts_group_by_check check (cardinality(group_by) <= 8),
    add column keep_firing_for interval not null default '0'
        constraint apm_alerts_keep_firing_for_check check (keep_firing_for between interval '0' and interval '1 day'),
    -- what it means that the sender ended the series, said; silence is no_data_policy
    add column stale_policy text not null default 'ok'
        constraint apm_alerts_stale_policy_check check (stale_policy in ('alert', 'keep', 'ok')),
    -- by grade, guard or phase: {"evening_before": 0.75}, {"ceremony": 300}
    add column wedding_factors jsonb not null default '{}'
        constraint apm_alerts_wedding_factors_check check (jsonb_typeof(wedding_factors) = 'object'),
    add column wedding_thresholds jsonb not null default '{}'
        constraint apm_alerts_wedding_thresholds_check check (jsonb_typeof(wedding_thresholds) = 'object'),
    -- so many beginnings and ends within the window are one alarm that goes on; 0: never
    add column flap_changes int not null default 0
        constraint apm_alerts_flap_changes_check check (flap_changes = 0 or flap_changes between 3 and 20),
    add column flap_window interval not null default '10 minutes'
        constraint apm_alerts_flap_window_check check (flap_window between interval '1 minute' and interval '1 day'),
    -- false: a rule that only others are made of
    add column opens_incident boolean not null default true,
    add column denominator_pattern text
        constraint apm_alerts_denominator_pattern_check check (length(denominator_pattern) between 1 and 256),
    add column denominator_selectors jsonb not null default '[]'
        constraint apm_alerts_denominator_selectors_check check (jsonb_typeof(denominator_selectors) = 'array'),
    add column objective float8 constraint apm_alerts_objective_check check (objective > 0 and objective < 1),
    add column short_window interval
        constraint apm_alerts_short_window_check check (short_window between interval '1 minute' and interval '30 days'),
    add column baseline text constraint apm_alerts_baseline_check check (baseline in ('same_weekday', 'last_wedding')),
    add column baseline_weeks int not null default 4
        constraint apm_alerts_baseline_weeks_check check (baseline_weeks between 1 and 8),
    -- null: up to the end of the next wedding
    add column horizon interval
        constraint apm_alerts_horizon_check check (horizon between interval '1 minute' and interval '30 days'),
    add column member_rule_ids uuid[] not null default '{}'
        constraint apm_alerts_member_rule_ids_check check (cardinality(member_rule_ids) <= 10),
    drop constraint apm_alerts_aggregation_check,
    add constraint apm_alerts_aggregation_check check (aggregation in (
        'avg', 'min', 'max', 'sum', 'count', 'last', 'rate', 'increase', 'p50', 'p90', 'p95', 'p99', 'stddev'
    )),
    drop constraint apm_alerts_evaluation_window_check,
    add constraint apm_alerts_evaluation_window_check check (
        evaluation_window between interval '1 second' and case
            when rule_kind in ('change', 'burn_rate', 'deadline') then interval '30 days' else interval '1 day'
        end
    ),
    drop constraint apm_alerts_metric_pattern_check,
    add constraint apm_alerts_metric_pattern_check check (
        length(metric_pattern) between case when rule_kind = 'composite' then 0 else 1 end and 256
    ),
    -- each kind has what it cannot do without
    add constraint apm_alerts_kind_has_its_parts check (
        case rule_kind
            when 'ratio' then denominator_pattern is not null
            when 'burn_rate' then denominator_pattern is not null and objective is not null
            when 'change' then baseline is not null
            when 'composite' then cardinality(member_rule_ids) >= 1
            else true
        end
    );
grant insert (
    rule_kind, tag_selectors, group_by, keep_firing_for, stale_policy, wedding_factors, wedding_thresholds, flap_changes,
    flap_window, opens_incident, denominator_pattern, denominator_selectors, objective, short_window, baseline,
    baseline_weeks, horizon, member_rule_ids
), update (
    rule_kind, tag_selectors, group_by, keep_firing_for, stale_policy, wedding_factors, wedding_thresholds, flap_changes,
    flap_window, opens_incident, denominator_pattern, denominator_selectors, objective, short_window, baseline,
    baseline_weeks, horizon, member_rule_ids
) on public.apm_alerts to authenticated;

-- A composite rule counts rules of its own organization that are no composites themselves, and none of them goes away
-- under it. Looked at when the transaction ends: an organization takes all of its rules with it, in any order.
create function apm_private.check_member_rules() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    organization uuid := coalesce(new.organization_id, old.organization_id);
    changed uuid := coalesce(new.id, old.id);
begin
    if exists (
        select from public.apm_alerts as c
        cross join lateral unnest(c.member_rule_ids) as m (id)
        left join public.apm_alerts as r on r.organization_id = c.organization_id and r.id = m.id
        where c.organization_id = organization and c.rule_kind = 'composite'
            and (c.id = changed or changed = any (c.member_rule_ids))
            and (r.id is null or r.rule_kind = 'composite')
    ) then
        raise exception 'a composite rule counts rules of its organization that are there and no composites'
            using errcode = 'foreign_key_violation', constraint = 'apm_alerts_member_rule_ids_fkey', table = 'apm_alerts';
    end if;
    return null;
end
$$;
call apm_private.hand_over('apm_private.check_member_rules()');
create constraint trigger apm_alerts_member_rules after insert or update of rule_kind, member_rule_ids or delete
on public.apm_alerts deferrable initially deferred for each row execute function apm_private.check_member_rules();

alter table public.apm_alert_states
    -- 'series:7', or 'tags:{"region":"north"}'
    add column instance_key text,
    add column labels jsonb not null default '{}',
    add column keeping_since timestamptz,
    add column alarmed_at timestamptz,
    add column flips timestamptz[] not null default '{}',
    -- what of the limit is not in threshold_value; null for verdicts from before
    add column clear_value double precision,
    add column factor double precision,
    -- why there is no value
    add column gap text constraint apm_alert_states_gap_check check (gap in ('absent', 'stale', 'not_applicable')),
    drop constraint apm_alert_states_state_check,
    add constraint apm_alert_states_state_check
        check (state in ('ok', 'pending', 'firing', 'no_data', 'keeping', 'flapping'));
update public.apm_alert_states as s set instance_key = 'series:' || s.series_id, alarmed_at = s.firing_since;
alter table public.apm_alert_states
    drop constraint apm_alert_states_pkey,
    alter column series_id drop not null,
    alter column instance_key set not null,
    add primary key (organization_id, alert_id, instance_key);
