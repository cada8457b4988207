-- pre: APM extended: what people text and press: whose number it is, what he was called for, STOP and START.

alter table public.apm_contact_methods drop constraint apm_contact_methods_address;
alter table public.apm_contact_methods add constraint apm_contact_methods_address check (
    (channel = 'email' and address ~ '^[^@\s]+@[^@\s]+$')
    or (channel in ('slack', 'webhook') and secret_ciphertext is not null)
    or (channel = 'voice' and address ~ '^\+[1-9][0-9]{6,14}$')
    or channel in ('sms', 'pagerduty')
);
-- hear_number, list_calls_of_number: a text names its sender by number alone
create index idx_apm_contact_methods_number on public.apm_contact_methods (address) where channel in ('sms', 'voice');

-- Notes that a text came from a number, under its provider's id; false if that one was heard before. Whose number it is
-- not is nobody's business: there is nothing that it could do.
create function apm_private.hear_number(phone text, source_event_id text, at timestamptz)
returns table (is_known boolean, is_new boolean)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    owners uuid[] := array(
        select distinct c.organization_id from public.apm_contact_methods as c
        where c.address = hear_number.phone and c.channel in ('sms', 'voice')
    );
    noted int;
begin
    insert into apm_private.channel_events (organization_id, source, source_event_id, outcome, received_at)
    select o, 'text', hear_number.source_event_id, 'heard', hear_number.at from unnest(owners) as o
    on conflict on constraint channel_events_pkey do nothing;
    get diagnostics noted = row_count;
    return query select cardinality(owners) > 0, noted > 0;
end
$$;
call apm_private.hand_over('apm_private.hear_number(text, text, timestamptz)');

-- What the owner of a number was called for within a day and nobody has in hand yet, the latest call first. A call to a
-- contact whose number was changed since is not his.
create function apm_private.list_calls_of_number(phone text, at timestamptz)
returns table (
    incident_id uuid, number bigint, generation int, title text, vendor_text jsonb, receiver text, called_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select i.id, i.number, i.generation, i.title, i.vendor_text, min(c.name), max(d.created_at) as called_at
    from public.apm_contact_methods as c
    join public.apm_deliveries as d on d.organization_id = c.organization_id and d.contact_method_id = c.id
    join public.apm_incidents as i on i.organization_id = d.organization_id and i.id = d.incident_id
    where c.address = list_calls_of_number.phone and c.channel in ('sms', 'voice')
        and d.kind in ('page', 'reopened') and d.attempt > 0
        and d.created_at > list_calls_of_number.at - interval '1 day'
        and d.generation = i.generation and i.status = 'open'
    group by i.organization_id, i.id, i.number, i.generation, i.title, i.vendor_text
    order by called_at desc, i.number desc
$$;
call apm_private.hand_over('apm_private.list_calls_of_number(text, timestamptz)');

-- A message as its receiver hears it on the telephone; none for an id that is not there.
create function apm_private.read_call(delivery_id uuid)
returns table (
    organization_id uuid, incident_id uuid, generation int, kind text, channel text, body text, receiver text, status text,
    incident_generation int, acknowledged_by_name text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select d.organization_id, d.incident_id, d.generation, d.kind, d.channel::text, d.body,
        coalesce(nullif(left(d.recipient ->> 'name', 200), ''), 'somebody'), i.status::text, i.generation, i.acknowledged_by_name
    from public.apm_deliveries as d
    left join public.apm_incidents as i on i.organization_id = d.organization_id and i.id = d.incident_id
    where d.id = read_call.delivery_id
$$;
call apm_private.hand_over('apm_private.read_call(uuid)');

-- Sends nothing more to a number that said so, or again to one that was off for no other reason; says to how many
-- contacts that applied.
create function apm_private.stop_number(phone text, reason text, at timestamptz) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    count int;
begin
    update public.apm_contact_methods as c set disabled_at = stop_number.at, disabled_reason = stop_number.reason
    where c.address = stop_number.phone and c.channel = 'sms' and c.disabled_at is null;
    get diagnostics count = row_count;
    return count;
end
$$;
call apm_private.hand_over('apm_private.stop_number(text, text, timestamptz)');

create function apm_private.start_number(phone text, reason text) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    count int;
begin
    update public.apm_contact_methods as c set disabled_at = null, disabled_reason = null
    where c.address = start_number.phone and c.channel = 'sms' and c.disabled_reason = start_number.reason;
    get diagnostics count = row_count;
    return count;
end
$$;
call apm_private.hand_over('apm_private.start_number(text, text)');

-- Switches the contact of one message off, where what came of it says that nobody is reached there.
create function apm_private.stop_contact_of(delivery_id uuid, reason text, at timestamptz) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    update public.apm_contact_methods as c set disabled_at = stop_contact_of.at, disabled_reason = stop_contact_of.reason
    from public.apm_deliveries as d
    where d.id = stop_contact_of.delivery_id and c.organization_id = d.organization_id and c.id = d.contact_method_id
        and c.disabled_at is null
$$;
call apm_private.hand_over('apm_private.stop_contact_of(uuid, text, timestamptz)');
grant execute on function apm_private.hear_number(text, text, timestamptz),
    apm_private.list_calls_of_number(text, timestamptz), apm_private.read_call(uuid),
    apm_private.stop_number(text, text, timestamptz), apm_private.start_number(text, text),
    apm_private.stop_contact_of(uuid, text, timestamptz) to apm_api;
