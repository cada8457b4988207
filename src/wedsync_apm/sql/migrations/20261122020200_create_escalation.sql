-- pre: APM extended: whom to reach and when: contacts, ladders, timers, and the outbox with its delivery states.

-- A person's or a system's address on one channel. What is secret of it (a Slack URL, a webhook key) is sealed.
create table public.apm_contact_methods (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    user_id uuid,
    -- whom it reaches: "Priya", "Studio Slack"
    name text not null check (length(name) between 1 and 200),
    channel public.notification_channel not null,
    -- an e-mail address or a telephone number; for a webhook its host, for show
    address text not null default '' check (length(address) <= 500),
    secret_ciphertext bytea,
    secret_fingerprint text,
    verified_at timestamptz,
    last_ok_at timestamptz,
    disabled_at timestamptz,
    disabled_reason text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_contact_methods_address check (
        (channel = 'email' and address ~ '^[^@\s]+@[^@\s]+$')
        or (channel in ('slack', 'webhook') and secret_ciphertext is not null)
        or channel in ('sms', 'pagerduty')
    )
);
call apm_private.protect_table('public.apm_contact_methods');
create trigger apm_contact_methods_audit after insert or update or delete on public.apm_contact_methods
for each row execute function apm_private.write_audit();
-- list_contact_methods
create index idx_apm_contact_methods_organization on public.apm_contact_methods (organization_id, name);
grant select (id, organization_id, user_id, name, channel, address, secret_fingerprint, verified_at, last_ok_at,
    disabled_at, disabled_reason, created_at, updated_at) on public.apm_contact_methods to authenticated;
call apm_private.grant_writes('public.apm_contact_methods', kept => array['last_ok_at'], chooses_id => true);
create policy apm_contact_methods_authenticated_select on public.apm_contact_methods for select to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[]));
create policy apm_contact_methods_authenticated_insert on public.apm_contact_methods for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_contact_methods_authenticated_update on public.apm_contact_methods for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_contact_methods_authenticated_delete on public.apm_contact_methods for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

create table public.apm_escalation_policies (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    name text not null check (length(name) between 1 and 200),
    is_default boolean not null default false,
    -- how often the whole ladder is climbed again when nobody answers
    repeat_count int not null default 0 check (repeat_count between 0 and 20),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_escalation_policies_name_key unique (organization_id, name)
);
call apm_private.protect_table('public.apm_escalation_policies');
create unique index idx_apm_escalation_policies_default on public.apm_escalation_policies (organization_id) where is_default;

create table public.apm_escalation_steps (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    policy_id uuid not null,
    position int not null check (position >= 1),
    level public.escalation_level not null default 'none',
    -- after the step before; the first one's from the start
    delay interval not null check (delay between interval '0' and interval '1 day'),
    -- in a wedding window; null: a quarter of the delay
    wedding_delay interval check (wedding_delay between interval '0' and interval '1 day'),
    primary key (organization_id, id),
    constraint apm_escalation_steps_position_key unique (organization_id, policy_id, position),
    foreign key (organization_id, policy_id) references public.apm_escalation_policies (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_escalation_steps');

create table public.apm_escalation_targets (
    organization_id uuid not null,
    step_id uuid not null,
    contact_method_id uuid not null,
    primary key (organization_id, step_id, contact_method_id),
    foreign key (organization_id, step_id) references public.apm_escalation_steps (organization_id, id) on delete cascade,
    foreign key (organization_id, contact_method_id) references public.apm_contact_methods (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_escalation_targets');
-- the cascade when a contact goes
create index idx_apm_escalation_targets_contact on public.apm_escalation_targets (organization_id, contact_method_id);

create table public.apm_notification_rules (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    name text not null check (length(name) between 1 and 200),
    severity_min public.alert_severity not null default 'warning',
    channels public.notification_channel[] not null default array['email']::public.notification_channel[],
    recipients jsonb not null default '[]' check (jsonb_typeof(recipients) = 'array'),
    -- {"start": "22:00", "end": "07:00", "time_zone": "Europe/London"}
    quiet_hours jsonb check (quiet_hours is null or jsonb_typeof(quiet_hours) = 'object'),
    escalation_policy_id uuid,
    wedding_day_override boolean not null default true,
    is_active boolean not null default true,
    position int not null default 100,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_notification_rules_name_key unique (organization_id, name),
    constraint apm_notification_rules_policy_fkey foreign key (organization_id, escalation_policy_id)
        references public.apm_escalation_policies (organization_id, id) on delete set null (escalation_policy_id)
);
call apm_private.protect_table('public.apm_notification_rules');
-- steer_escalation: the rules that lead to a ladder, and the set-null when it goes
create index idx_apm_notification_rules_policy on public.apm_notification_rules (organization_id, escalation_policy_id);
-- choose_policy: an organization's active rules in order
create index idx_apm_notification_rules_order on public.apm_notification_rules (organization_id, position) where is_active;

do $$
declare
    name text;
begin
    foreach name in array array[
        'apm_escalation_policies', 'apm_escalation_steps', 'apm_escalation_targets', 'apm_notification_rules'
    ]
    loop
        execute format('grant select on public.%I to authenticated', name);
        call apm_private.grant_writes(format('public.%I', name)::regclass);
        execute format('create policy %I on public.%I for select to authenticated
            using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]))',
            name || '_authenticated_select', name);
        execute format('create policy %I on public.%I for insert to authenticated
            with check (organization_id = any ((select public.apm_organization_ids_as(''ADMIN''))::uuid[]))',
            name || '_authenticated_insert', name);
        execute format('create policy %I on public.%I for update to authenticated
            using (organization_id = any ((select public.apm_organization_ids_as(''ADMIN''))::uuid[]))
            with check (organization_id = any ((select public.apm_organization_ids_as(''ADMIN''))::uuid[]))',
            name || '_authenticated_update', name);
        execute format('create policy %I on public.%I for delete to authenticated
            using (organization_id = any ((select public.apm_organization_ids_as(''ADMIN''))::uuid[]))',
            name || '_authenticated_delete', name);
        execute format('create trigger %I after insert or update or delete on public.%I
            for each row execute function apm_private.write_audit()', name || '_audit', name);
    end loop;
end
$$;

-- One climb of a ladder. A snapshot: what is changed afterwards counts for the next incident.
create table public.apm_escalation_runs (
    organization_id uuid not null,
    incident_id uuid not null,
    generation int not null,
    policy_id uuid,
    -- [{"position", "level", "delay_seconds", "wedding_delay_seconds", "contact_method_ids": []}]
    steps jsonb not null check (jsonb_typeof(steps) = 'array'),
    repeats_left int not null default 0,
    -- the step that is due next, from 0
    next_step int not null default 0,
    next_at timestamptz,
    state text not null default 'running' check (state in ('running', 'stopped', 'exhausted')),
    stop_reason text,
    started_at timestamptz not null,
    primary key (organization_id, incident_id, generation),
    constraint apm_escalation_runs_timer check ((state = 'running') = (next_at is not null)),
    foreign key (organization_id, incident_id) references public.apm_incidents (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_escalation_runs');
-- claim_due_steps: over all organizations, the most overdue first
create index idx_apm_escalation_runs_due on public.apm_escalation_runs (next_at) where state = 'running';
grant select on public.apm_escalation_runs to authenticated;
create policy apm_escalation_runs_authenticated_select on public.apm_escalation_runs for select to authenticated
using (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    or (select public.apm_operator_role()) is not null
);

-- The outbox: one row is one message to one receiver, from intent to receipt.
create table public.apm_deliveries (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    incident_id uuid,
    contact_method_id uuid,
    channel public.notification_channel not null,
    kind text not null check (kind in ('page', 'update', 'resolved', 'reopened', 'test')),
    -- why it was decided to tell: first, repeat, escalated, resolved, reopened, test
    reason text not null,
    -- as it was when it was decided: {"name", "address"}
    recipient jsonb not null default '{}' check (jsonb_typeof(recipient) = 'object'),
    -- exactly what was sent, stored before it was
    subject text,
    body text,
    payload jsonb not null default '{}',
    idempotency_key text not null check (length(idempotency_key) <= 300),
    state text not null default 'pending' check (state in (
        'pending',      -- -> leased, suppressed, cancelled, expired
        'leased',       -- -> sending, pending, cancelled, suppressed, inbox
        'sending',      -- -> sent, retry, failed, unknown
        'sent',         -- accepted by the provider -> delivered, failed
        'delivered',    -- proven to have arrived
        'unknown',      -- the sender died between sending and recording -> leased
        'retry',        -- -> leased, expired, cancelled
        'failed',       -- for good
        'suppressed',   -- a stage dropped it, state_reason says why
        'cancelled',    -- no longer needed
        'expired',      -- too late to be of use
        'inbox'         -- no provider is set up for the channel: kept where people can read it
    )),
    state_reason text not null default '',
    priority int not null default 0,
    due_at timestamptz not null default now(),
    expires_at timestamptz,
    attempt int not null default 0,
    lease_owner text,
    lease_until timestamptz,
    -- raised by each lease: a sender that lost its lease cannot write over the next one
    fence bigint not null default 0,
    provider_id text,
    provider_status text,
    generation int,
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    delivered_at timestamptz,
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_deliveries_idempotency_key unique (organization_id, idempotency_key),
    constraint apm_deliveries_lease check (state not in ('leased', 'sending') or (lease_owner is not null and lease_until is not null)),
    constraint apm_deliveries_incident_fkey foreign key (organization_id, incident_id)
        references public.apm_incidents (organization_id, id) on delete cascade,
    constraint apm_deliveries_contact_fkey foreign key (organization_id, contact_method_id)
        references public.apm_contact_methods (organization_id, id) on delete set null (contact_method_id)
);
call apm_private.protect_table('public.apm_deliveries');
-- claim_due_deliveries: the most urgent first, over all organizations
create index idx_apm_deliveries_due on public.apm_deliveries (priority desc, due_at)
where state in ('pending', 'retry', 'unknown');
-- find_lost_leases
create index idx_apm_deliveries_leased on public.apm_deliveries (lease_until) where state in ('leased', 'sending');
-- list_deliveries, the inbox: an organization's messages, newest first
create index idx_apm_deliveries_organization_created on public.apm_deliveries (organization_id, created_at desc);
-- an incident's messages, on its page
create index idx_apm_deliveries_incident on public.apm_deliveries (organization_id, incident_id);
-- the set-null when a contact goes
create index idx_apm_deliveries_contact on public.apm_deliveries (organization_id, contact_method_id);
grant select on public.apm_deliveries to authenticated;
create policy apm_deliveries_authenticated_select on public.apm_deliveries for select to authenticated
using (
    organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
    or (select public.apm_operator_role()) in ('oncall', 'dba')
);
create trigger apm_deliveries_live after insert or update of state on public.apm_deliveries
for each row execute function apm_private.notify_live('deliveries');

create table public.apm_delivery_attempts (
    id bigint generated always as identity,
    organization_id uuid not null,
    delivery_id uuid not null,
    attempt int not null,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    outcome text check (outcome in ('sent', 'retry', 'failed', 'unknown')),
    provider_status text,
    error text,
    primary key (organization_id, id),
    constraint apm_delivery_attempts_key unique (organization_id, delivery_id, attempt),
    foreign key (organization_id, delivery_id) references public.apm_deliveries (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_delivery_attempts');
grant select on public.apm_delivery_attempts to authenticated;
create policy apm_delivery_attempts_authenticated_select on public.apm_delivery_attempts for select to authenticated
using (
    organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
    or (select public.apm_operator_role()) in ('oncall', 'dba')
);

-- A link that acknowledges with one tap and no login: single use, for one generation of one incident.
create table apm_private.acknowledge_links (
    token_hash bytea primary key check (length(token_hash) = 32),
    organization_id uuid not null,
    incident_id uuid not null,
    generation int not null,
    delivery_id uuid,
    -- whom the link was sent to
    receiver text not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    foreign key (organization_id, incident_id) references public.apm_incidents (organization_id, id) on delete cascade
);
call apm_private.protect_table('apm_private.acknowledge_links');
create index idx_apm_acknowledge_links_incident on apm_private.acknowledge_links (organization_id, incident_id);

create function apm_private.look_up_acknowledge_link(token_hash bytea, at timestamptz)
returns table (
    organization_id uuid, organization_name text, time_zone text, incident_id uuid, title text,
    status public.incident_status, severity public.alert_severity, detected_at timestamptz, resolved_at timestamptz,
    acknowledged_at timestamptz, acknowledged_by_name text, affected_weddings jsonb, vendor_text jsonb, receiver text,
    is_used boolean, is_expired boolean, next_step_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select l.organization_id, o.name, o.time_zone, i.id, i.title, i.status, i.severity, i.detected_at, i.resolved_at,
        i.acknowledged_at, i.acknowledged_by_name, i.affected_weddings, i.vendor_text, l.receiver,
        l.used_at is not null, l.expires_at <= look_up_acknowledge_link.at,
        (select min(r.next_at) from public.apm_escalation_runs as r
            where r.organization_id = l.organization_id and r.incident_id = l.incident_id and r.state = 'running')
    from apm_private.acknowledge_links as l
    join public.apm_incidents as i on i.organization_id = l.organization_id and i.id = l.incident_id
    join apm_private.host_organizations(array[l.organization_id]) as o on o.organization_id = l.organization_id
    where l.token_hash = look_up_acknowledge_link.token_hash
$$;
call apm_private.hand_over('apm_private.look_up_acknowledge_link(bytea, timestamptz)');

-- Acknowledges once; tells what came of it: acknowledged, used, expired, unknown, or the status that stood in the way.
create function apm_private.use_acknowledge_link(token_hash bytea, at timestamptz) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    link apm_private.acknowledge_links%rowtype;
    current_status public.incident_status;
    current_generation int;
begin
    select l.* into link from apm_private.acknowledge_links as l
    where l.token_hash = use_acknowledge_link.token_hash for update;
    if not found then
        return 'unknown';
    elsif link.used_at is not null then
        return 'used';
    elsif link.expires_at <= use_acknowledge_link.at then
        return 'expired';
    end if;
    select i.status, i.generation into current_status, current_generation from public.apm_incidents as i
    where i.organization_id = link.organization_id and i.id = link.incident_id for update;
    if current_status <> 'open' then
        return current_status::text;
    elsif current_generation <> link.generation then
        -- It came again since: whoever is told of that has a link of his own.
        return 'expired';
    end if;
    perform set_config('apm.actor', link.receiver, true);
    perform set_config('apm.note', 'by the one-tap link', true);
    perform set_config('apm.at', use_acknowledge_link.at::text, true);
    update public.apm_incidents as i set status = 'acknowledged'
    where i.organization_id = link.organization_id and i.id = link.incident_id;
    update apm_private.acknowledge_links as l set used_at = use_acknowledge_link.at
    where l.token_hash = use_acknowledge_link.token_hash;
    return 'acknowledged';
end
$$;
call apm_private.hand_over('apm_private.use_acknowledge_link(bytea, timestamptz)');
grant execute on function apm_private.look_up_acknowledge_link(bytea, timestamptz),
    apm_private.use_acknowledge_link(bytea, timestamptz) to apm_api;

-- The ladder starts and stops with the incident's status, whoever changed it. Without a ladder of its own the
-- organization's default is climbed; without that, the platform's.
create function apm_private.steer_escalation() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
    chosen uuid;
    climbed jsonb;
begin
    if tg_op = 'UPDATE' then
        if new.status = old.status then
            return null;
        end if;
        update public.apm_escalation_runs as r set state = 'stopped', next_at = null, stop_reason = new.status::text
        where r.organization_id = new.organization_id and r.incident_id = new.id and r.state = 'running';
    end if;
    if new.status <> 'open' then
        return null;
    end if;
    select p.id into chosen
    from public.apm_escalation_policies as p
    left join public.apm_notification_rules as n
        on n.organization_id = p.organization_id and n.escalation_policy_id = p.id
        and n.is_active and new.severity >= n.severity_min
    where p.organization_id = new.organization_id and (n.id is not null or p.is_default)
    order by n.position nulls last
    limit 1;
    select coalesce(jsonb_agg(jsonb_build_object(
        'position', s.position, 'level', s.level,
        'delay_seconds', extract(epoch from s.delay),
        'wedding_delay_seconds', extract(epoch from coalesce(s.wedding_delay, s.delay / 4)),
        'contact_method_ids', (
            select coalesce(jsonb_agg(t.contact_method_id), '[]') from public.apm_escalation_targets as t
            where t.organization_id = s.organization_id and t.step_id = s.id
        )
    ) order by s.position), '[]') into climbed
    from public.apm_escalation_steps as s
    where s.organization_id = new.organization_id and s.policy_id = chosen;
    insert into public.apm_escalation_runs
        (organization_id, incident_id, generation, policy_id, steps, repeats_left, next_at, started_at)
    values (
        new.organization_id, new.id, new.generation, chosen, climbed,
        coalesce((select p.repeat_count from public.apm_escalation_policies as p where p.organization_id = new.organization_id and p.id = chosen), 0),
        at + make_interval(secs => coalesce(
            (climbed -> 0 ->> case when new.was_wedding_day then 'wedding_delay_seconds' else 'delay_seconds' end)::float8, 0
        )),
        at
    );
    return null;
end
$$;
call apm_private.hand_over('apm_private.steer_escalation()');
create trigger apm_incidents_steer_escalation after insert or update of status on public.apm_incidents
for each row execute function apm_private.steer_escalation();

-- The data key of each organization, wrapped by the master key, which is never in the database.
create table apm_private.organization_keys (
    organization_id uuid primary key references public.organizations (id) on delete cascade,
    wrapped_key bytea not null,
    master_key_id text not null,
    created_at timestamptz not null default now()
);
call apm_private.protect_table('apm_private.organization_keys');

create function apm_private.find_organization_key(organization_id uuid)
returns table (wrapped_key bytea, master_key_id text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select k.wrapped_key, k.master_key_id from apm_private.organization_keys as k
    where k.organization_id = find_organization_key.organization_id
$$;
create function apm_private.store_organization_key(organization_id uuid, wrapped_key bytea, master_key_id text)
returns table (wrapped_key bytea, master_key_id text)
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into apm_private.organization_keys as k (organization_id, wrapped_key, master_key_id)
    values (store_organization_key.organization_id, store_organization_key.wrapped_key, store_organization_key.master_key_id)
    on conflict (organization_id) do update set organization_id = excluded.organization_id
    returning k.wrapped_key, k.master_key_id
$$;
call apm_private.hand_over('apm_private.find_organization_key(uuid)');
call apm_private.hand_over('apm_private.store_organization_key(uuid, bytea, text)');
grant execute on function apm_private.find_organization_key(uuid),
    apm_private.store_organization_key(uuid, bytea, text) to apm_api, apm_engine;

-- What the engine's jobs did last, for readiness and the maintenance page.
create table apm_private.job_runs (
    job text primary key,
    started_at timestamptz not null,
    finished_at timestamptz,
    duration_ms float8,
    outcome text not null check (outcome in ('running', 'ok', 'failed', 'skipped')),
    detail text not null default '',
    failures_in_row int not null default 0
);
call apm_private.protect_table('apm_private.job_runs');

create function apm_private.read_job_runs()
returns table (job text, started_at timestamptz, finished_at timestamptz, duration_ms float8, outcome text, detail text, failures_in_row int)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select r.job, r.started_at, r.finished_at, r.duration_ms, r.outcome, r.detail, r.failures_in_row
    from apm_private.job_runs as r order by r.job
$$;
call apm_private.hand_over('apm_private.read_job_runs()');
grant execute on function apm_private.read_job_runs() to apm_api;

-- Answers to POSTs that carried an Idempotency-Key, so that a repeat changes nothing.
create table public.apm_idempotency_keys (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    subject uuid not null,
    key text not null check (length(key) between 1 and 200),
    request_hash bytea not null,
    response_status int not null,
    response_body jsonb not null,
    created_at timestamptz not null default now(),
    primary key (organization_id, subject, key)
);
call apm_private.protect_table('public.apm_idempotency_keys');
grant select, insert on public.apm_idempotency_keys to authenticated;
create policy apm_idempotency_keys_authenticated_select on public.apm_idempotency_keys for select to authenticated
using (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    and subject = (select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid)
);
create policy apm_idempotency_keys_authenticated_insert on public.apm_idempotency_keys for insert to authenticated
with check (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    and subject = (select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid)
);
