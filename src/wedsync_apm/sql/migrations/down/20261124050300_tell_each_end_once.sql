create or replace function apm_private.tell_the_end() returns trigger
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
    select distinct on (d.channel, coalesce(d.contact_method_id::text, d.recipient ->> 'address', ''))
        d.organization_id, d.incident_id, d.contact_method_id, d.channel, 'resolved', 'resolved', d.recipient, d.payload,
        left(concat_ws(':', 'resolved', new.id, new.generation, d.channel,
            coalesce(d.contact_method_id::text, d.recipient ->> 'address')), 300),
        d.priority, at, at, new.generation
    from public.apm_deliveries as d
    where d.organization_id = new.organization_id and d.incident_id = new.id
        and d.kind in ('page', 'update', 'reopened')
        and d.state not in ('suppressed')
    order by d.channel, coalesce(d.contact_method_id::text, d.recipient ->> 'address', ''), d.created_at desc
    on conflict (organization_id, idempotency_key) do nothing;
    return null;
end
$$;
