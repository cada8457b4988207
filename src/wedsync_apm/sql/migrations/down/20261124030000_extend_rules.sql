-- Verdicts on groups of series, and rules of kinds that did not exist, have no place in the older tables.
delete from public.apm_alert_states as s where s.series_id is null or s.instance_key <> 'series:' || s.series_id;
update public.apm_alert_states as s set state = 'firing' where s.state in ('keeping', 'flapping');
alter table public.apm_alert_states
    drop constraint apm_alert_states_pkey,
    drop constraint apm_alert_states_state_check,
    add constraint apm_alert_states_state_check check (state in ('ok', 'pending', 'firing', 'no_data')),
    drop column instance_key,
    drop column labels,
    drop column keeping_since,
    drop column alarmed_at,
    drop column flips,
    drop column clear_value,
    drop column factor,
    drop column gap,
    alter column series_id set not null,
    add primary key (organization_id, alert_id, series_id);

drop trigger apm_alerts_member_rules on public.apm_alerts;
drop function apm_private.check_member_rules();
delete from public.apm_alerts as r
where r.rule_kind <> 'threshold' or r.aggregation in ('increase', 'p90', 'stddev') or r.group_by is not null;
alter table public.apm_alerts
    drop constraint apm_alerts_kind_has_its_parts,
    drop constraint apm_alerts_aggregation_check,
    add constraint apm_alerts_aggregation_check
        check (aggregation in ('avg', 'min', 'max', 'sum', 'count', 'last', 'rate', 'p50', 'p95', 'p99')),
    drop constraint apm_alerts_evaluation_window_check,
    add constraint apm_alerts_evaluation_window_check
        check (evaluation_window between interval '1 second' and interval '1 day'),
    drop constraint apm_alerts_metric_pattern_check,
    add constraint apm_alerts_metric_pattern_check check (length(metric_pattern) between 1 and 256),
    drop column rule_kind,
    drop column tag_selectors,
    drop column group_by,
    drop column keep_firing_for,
    drop column stale_policy,
    drop column wedding_factors,
    drop column wedding_thresholds,
    drop column flap_changes,
    drop column flap_window,
    drop column opens_incident,
    drop column denominator_pattern,
    drop column denominator_selectors,
    drop column objective,
    drop column short_window,
    drop column baseline,
    drop column baseline_weeks,
    drop column horizon,
    drop column member_rule_ids;
