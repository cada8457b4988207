-- pre: APM extended: who has it in hand is told where messages are changed in place, and taps on other systems are heard.

alter table public.apm_contact_methods drop constraint apm_contact_methods_address;
alter table public.apm_contact_methods add constraint apm_contact_methods_address check (
    (channel = 'email' and address ~ '^[^@\s]+@[^@\s]+$')
    or (channel in ('slack', 'webhook', 'push') and secret_ciphertext is not null)
    or (channel = 'voice' and address ~ '^\+[1-9][0-9]{6,14}$')
    or channel in ('sms', 'pagerduty')
);

-- Where one message stands for an incident (a Slack message, a PagerDuty incident, a notification on a telephone), it is
-- changed as soon as somebody has it in hand; elsewhere that would be one more message. A system that told us so itself
-- (apm.heard_from) knows it already.
create function apm_private.tell_followers() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
begin
    insert into public.apm_deliveries (
        organization_id, incident_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key,
        priority, due_at, created_at, generation
    )
    select distinct on (d.contact_method_id)
        d.organization_id, d.incident_id, d.contact_method_id, d.channel, 'update', 'acknowledged', d.recipient, '{}',
        concat_ws(':', 'acknowledged', new.id, new.generation, d.contact_method_id), d.priority, at, at, new.generation
    from public.apm_deliveries as d
    join public.apm_contact_methods as c
        on c.organization_id = d.organization_id and c.id = d.contact_method_id and c.disabled_at is null
    where d.organization_id = new.organization_id and d.incident_id = new.id
        and d.kind in ('page', 'reopened') and d.state in ('sending', 'sent', 'delivered', 'unknown')
        and d.channel in ('slack', 'pagerduty', 'push')
        and not (
            d.channel = 'pagerduty'
            and d.contact_method_id::text = coalesce(current_setting('apm.heard_from', true), '')
        )
    order by d.contact_method_id, d.created_at desc
    on conflict (organization_id, idempotency_key) do nothing;
    return null;
end
$$;
call apm_private.hand_over('apm_private.tell_followers()');
create trigger apm_incidents_tell_followers after update of status on public.apm_incidents
for each row
when (old.status = 'open' and new.status in ('acknowledged', 'investigating'))
execute function apm_private.tell_followers();

-- The contact that a callback is for, with what its signature is checked by.
create function apm_private.find_callback_contact(id uuid)
returns table (
    organization_id uuid, id uuid, channel text, name text, address text, secret_ciphertext bytea, wrapped_key bytea,
    master_key_id text, is_off boolean
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select c.organization_id, c.id, c.channel::text, c.name, c.address, c.secret_ciphertext, k.wrapped_key, k.master_key_id,
        c.disabled_at is not null
    from public.apm_contact_methods as c
    join apm_private.organization_keys as k on k.organization_id = c.organization_id
    where c.id = find_callback_contact.id and c.secret_ciphertext is not null
$$;
call apm_private.hand_over('apm_private.find_callback_contact(uuid)');

-- Acknowledges for somebody who did so in the system behind a contact: acknowledged, expired, unknown (it is none that
-- this contact was told of), or the status that stood in the way. Without a generation the callback means the trouble
-- that was under way when it `happened_at`.
create function apm_private.hear_acknowledgement(
    contact_method_id uuid, incident_id uuid, generation int, receiver text, event_id text, happened_at timestamptz,
    at timestamptz
) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    contact public.apm_contact_methods%rowtype;
    begun_at timestamptz;
    outcome text;
begin
    select c.* into contact from public.apm_contact_methods as c where c.id = hear_acknowledgement.contact_method_id;
    if not exists (
        select from public.apm_deliveries as d
        where d.organization_id = contact.organization_id and d.contact_method_id = contact.id
            and d.incident_id = hear_acknowledgement.incident_id
    ) then
        return 'unknown';
    end if;
    if hear_acknowledgement.generation is null then
        perform from public.apm_incidents as i
        where i.organization_id = contact.organization_id and i.id = hear_acknowledgement.incident_id for update;
        select max(e.at) into begun_at from public.apm_incident_events as e
        where e.organization_id = contact.organization_id and e.incident_id = hear_acknowledgement.incident_id
            and e.kind in ('reopened', 'expired');
        if begun_at > hear_acknowledgement.happened_at then
            return 'expired';
        end if;
    end if;
    perform set_config('apm.heard_from', contact.id::text, true);
    outcome := apm_private.acknowledge_from_channel(
        hear_acknowledgement.incident_id, hear_acknowledgement.generation, hear_acknowledgement.receiver,
        contact.channel::text, concat_ws(':', contact.id, hear_acknowledgement.event_id), hear_acknowledgement.at
    );
    perform set_config('apm.heard_from', '', true);
    return outcome;
end
$$;
call apm_private.hand_over('apm_private.hear_acknowledgement(uuid, uuid, int, text, text, timestamptz, timestamptz)');

-- The same for a drill's message to that contact.
create function apm_private.hear_drill(contact_method_id uuid, delivery_id uuid, at timestamptz) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    asked_by text;
begin
    select d.channel::text into asked_by from public.apm_deliveries as d
    where d.id = hear_drill.delivery_id and d.contact_method_id = hear_drill.contact_method_id;
    return case when asked_by is null then 'unknown'
        else apm_private.answer_drill(hear_drill.delivery_id, asked_by, hear_drill.at) end;
end
$$;
call apm_private.hand_over('apm_private.hear_drill(uuid, uuid, timestamptz)');
grant execute on function apm_private.find_callback_contact(uuid),
    apm_private.hear_drill(uuid, uuid, timestamptz),
    apm_private.hear_acknowledgement(uuid, uuid, int, text, text, timestamptz, timestamptz) to apm_api;
