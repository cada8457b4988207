-- pre: performance monitoring: alert rules and their verdicts, service health checks, provider configurations.

create table public.apm_configurations (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    provider public.apm_provider not null,
    name text not null check (length(name) between 1 and 200),
    -- never a secret in plain text: those are in secret_ciphertext, sealed for this row
    config jsonb not null default '{}' check (jsonb_typeof(config) = 'object'),
    secret_ciphertext bytea,
    secret_fingerprint text,
    secret_set_at timestamptz,
    wedding_day_alerts_enabled boolean not null default true,
    emergency_contact_override jsonb check (emergency_contact_override is null or jsonb_typeof(emergency_contact_override) = 'object'),
    is_active boolean not null default true,
    last_health_check timestamptz,
    health_check_status public.service_status not null default 'unknown',
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_configurations_name_key unique (organization_id, provider, name),
    constraint apm_configurations_no_plain_secret check (
        not config ?| array['api_key', 'app_key', 'license_key', 'password', 'secret', 'token', 'routing_key']
    )
);
call apm_private.protect_table('public.apm_configurations');
create trigger apm_configurations_audit after insert or update or delete on public.apm_configurations
for each row execute function apm_private.write_audit();
grant select (id, organization_id, provider, name, config, secret_fingerprint, secret_set_at, wedding_day_alerts_enabled,
    emergency_contact_override, is_active, last_health_check, health_check_status, created_by, created_at, updated_at)
    on public.apm_configurations to authenticated;
call apm_private.grant_writes('public.apm_configurations', chooses_id => true);
create policy apm_configurations_authenticated_select on public.apm_configurations for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_configurations_authenticated_insert on public.apm_configurations for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_configurations_authenticated_update on public.apm_configurations for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_configurations_authenticated_delete on public.apm_configurations for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

create table public.apm_alerts (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    alert_name text not null check (length(alert_name) between 1 and 200),
    description text not null default '',
    -- a glob over "service.metric"
    metric_pattern text not null check (length(metric_pattern) between 1 and 256),
    -- tags that a series must carry
    tag_filter jsonb not null default '{}' check (jsonb_typeof(tag_filter) = 'object'),
    aggregation text not null default 'avg'
        check (aggregation in ('avg', 'min', 'max', 'sum', 'count', 'last', 'rate', 'p50', 'p95', 'p99')),
    comparison_operator text not null check (comparison_operator in ('>', '>=', '<', '<=')),
    threshold_value float8 not null check (threshold_value > '-infinity' and threshold_value < 'infinity'),
    evaluation_window interval not null default '5 minutes'
        check (evaluation_window between interval '1 second' and interval '1 day'),
    for_duration interval not null default '0' check (for_duration between interval '0' and interval '1 day'),
    -- where it counts as over, past the threshold on the good side; null: the threshold itself
    clear_threshold_value float8 check (clear_threshold_value > '-infinity' and clear_threshold_value < 'infinity'),
    no_data_policy text not null default 'keep' check (no_data_policy in ('alert', 'keep', 'ok')),
    severity public.alert_severity not null default 'warning',
    notification_channels public.notification_channel[] not null default array['email']::public.notification_channel[],
    wedding_day_override boolean not null default true,
    -- null with the override on: the platform's factor in the rule's own direction
    wedding_day_threshold_value float8
        check (wedding_day_threshold_value > '-infinity' and wedding_day_threshold_value < 'infinity'),
    wedding_day_severity public.alert_severity,
    cooldown_period interval not null default '5 minutes' check (cooldown_period >= interval '0'),
    auto_resolve boolean not null default true,
    is_active boolean not null default true,
    -- what the vendor reads: {"subject": "Your order form", "problem": "is slow", "still_works": "...", "what_to_do": ["..."]}
    vendor_text jsonb not null default '{}' check (jsonb_typeof(vendor_text) = 'object'),
    last_triggered_at timestamptz,
    trigger_count bigint not null default 0,
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_alerts_name_key unique (organization_id, alert_name),
    -- hysteresis lies on the good side
    constraint apm_alerts_clear_side check (
        clear_threshold_value is null
        or (comparison_operator in ('>', '>=') and clear_threshold_value <= threshold_value)
        or (comparison_operator in ('<', '<=') and clear_threshold_value >= threshold_value)
    )
);
call apm_private.protect_table('public.apm_alerts');
create trigger apm_alerts_audit after insert or update or delete on public.apm_alerts
for each row execute function apm_private.write_audit();
-- create_incident_from_alert: a rule by its id alone
create index idx_apm_alerts_id on public.apm_alerts (id);
-- list_active_alerts: what the evaluator reads each second
create index idx_apm_alerts_active on public.apm_alerts (organization_id) where is_active;

grant select on public.apm_alerts to authenticated;
call apm_private.grant_writes('public.apm_alerts', kept => array['last_triggered_at', 'trigger_count']);
create policy apm_alerts_authenticated_select on public.apm_alerts for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_alerts_authenticated_insert on public.apm_alerts for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_alerts_authenticated_update on public.apm_alerts for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_alerts_authenticated_delete on public.apm_alerts for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- The verdict on one instance (rule and series), with everything that explains it.
create table public.apm_alert_states (
    organization_id uuid not null,
    alert_id uuid not null,
    series_id int not null,
    state text not null check (state in ('ok', 'pending', 'firing', 'no_data')),
    metric_value float8,
    threshold_value float8 not null,
    threshold_source text not null check (threshold_source in ('rule', 'wedding_value', 'wedding_factor')),
    phase text,
    wedding_id uuid,
    sample_count int not null,
    pending_since timestamptz,
    firing_since timestamptz,
    changed_at timestamptz not null,
    evaluated_at timestamptz not null,
    primary key (organization_id, alert_id, series_id),
    foreign key (organization_id, alert_id) references public.apm_alerts (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_alert_states');
-- list_unsettled_states: pending and firing ones are judged each second, samples or not
create index idx_apm_alert_states_unsettled on public.apm_alert_states (organization_id, alert_id) where state <> 'ok';
grant select on public.apm_alert_states to authenticated;
create policy apm_alert_states_authenticated_select on public.apm_alert_states for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));

create table public.service_health_checks (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    service_name text not null check (length(service_name) between 1 and 200),
    -- what people call it: "Order form"
    display_name text not null check (length(display_name) between 1 and 200),
    service_type text not null default 'http',
    -- null: judged by the metric named below, not by a call
    endpoint_url text check (endpoint_url is null or endpoint_url ~ '^https?://'),
    -- "service.metric" whose newest value stands for the response time, for a service that only sends samples
    source_metric text,
    status public.service_status not null default 'unknown',
    status_reason text not null default 'not checked yet',
    status_since timestamptz not null default now(),
    last_check_at timestamptz,
    next_check_at timestamptz not null default now(),
    response_time_ms float8,
    error_rate float8,
    availability_percentage float8 check (availability_percentage between 0 and 100),
    wedding_critical boolean not null default false,
    vendor_facing boolean not null default true,
    couple_facing boolean not null default false,
    check_interval interval not null default '1 minute' check (check_interval between interval '5 seconds' and interval '1 day'),
    timeout_seconds float8 not null default 10 check (timeout_seconds between 0.1 and 30),
    expected_status_codes int[] not null default array[200],
    response_time_threshold_ms float8 not null default 5000 check (response_time_threshold_ms > 0),
    is_active boolean not null default true,
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint service_health_checks_name_key unique (organization_id, service_name),
    constraint service_health_checks_source check (num_nonnulls(endpoint_url, source_metric) = 1)
);
call apm_private.protect_table('public.service_health_checks');
create trigger service_health_checks_audit after insert or delete on public.service_health_checks
for each row execute function apm_private.write_audit();
-- claim_due_checks: the next ones due, over all organizations
create index idx_apm_health_checks_due on public.service_health_checks (next_check_at) where is_active;
-- list_health_checks, Today: an organization's services
create index idx_apm_health_checks_organization on public.service_health_checks (organization_id, display_name);

grant select on public.service_health_checks to authenticated;
call apm_private.grant_writes('public.service_health_checks');
create policy service_health_checks_authenticated_select on public.service_health_checks for select to authenticated
using (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    or (select public.apm_operator_role()) is not null
);
create policy service_health_checks_authenticated_insert on public.service_health_checks for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy service_health_checks_authenticated_update on public.service_health_checks for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy service_health_checks_authenticated_delete on public.service_health_checks for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

create table public.apm_service_status_history (
    organization_id uuid not null,
    check_id uuid not null,
    status public.service_status not null,
    reason text not null,
    since timestamptz not null,
    primary key (organization_id, check_id, since),
    foreign key (organization_id, check_id) references public.service_health_checks (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_service_status_history');
grant select on public.apm_service_status_history to authenticated;
create policy apm_service_status_history_authenticated_select on public.apm_service_status_history for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));

-- What live pages hear: who, what, which one. Never the content, which each reader fetches with his own rights.
create function apm_private.notify_live() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_notify('apm_live', json_build_object(
        'organization_id', new.organization_id, 'topic', tg_argv[0], 'id', new.id, 'action', lower(tg_op)
    )::text);
    return null;
end
$$;

create function apm_private.keep_status_history() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.apm_service_status_history (organization_id, check_id, status, reason, since)
    values (new.organization_id, new.id, new.status, new.status_reason, new.status_since)
    on conflict (organization_id, check_id, since) do nothing;
    return null;
end
$$;
call apm_private.hand_over('apm_private.keep_status_history()');
create trigger service_health_checks_history after insert or update of status on public.service_health_checks
for each row execute function apm_private.keep_status_history();
create trigger service_health_checks_live after insert or update of status on public.service_health_checks
for each row execute function apm_private.notify_live('health');
revoke all on function apm_private.notify_live() from public, anon, authenticated, service_role;
