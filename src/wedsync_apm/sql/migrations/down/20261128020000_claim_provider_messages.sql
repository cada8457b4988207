create or replace function apm_private.record_receipt(
    delivery_id uuid, receipt text, provider_id text, provider_status text, at timestamptz
) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    present public.apm_deliveries%rowtype;
    has_arrived boolean := record_receipt.receipt in ('delivered', 'read');
    following text;
    is_freed boolean;
begin
    if apm_private.receipt_rank(record_receipt.receipt) is null then
        raise exception 'no receipt is called %', record_receipt.receipt using errcode = 'AP422';
    end if;
    select d.* into present from public.apm_deliveries as d where d.id = record_receipt.delivery_id for update;
    if not found then
        return 'unknown';
    end if;
    if not has_arrived and (
        record_receipt.provider_id = any (present.earlier_provider_ids)
        or (present.provider_id is not null and record_receipt.provider_id is distinct from present.provider_id)
    ) then
        return 'late';
    end if;
    if apm_private.receipt_rank(record_receipt.receipt) <= coalesce(apm_private.receipt_rank(present.receipt), 0) then
        return 'known';
    end if;
    following := case
        -- its sender is about to say so himself
        when present.state = 'sending' then 'sending'
        when has_arrived then 'delivered'
        when record_receipt.receipt = 'failed' and present.state in ('sent', 'unknown') then 'failed'
        when record_receipt.receipt = 'returned' and present.state in ('sent', 'unknown')
            then apm_private.state_after_return(present.kind, present.attempt)
        -- it was given up too soon: the provider has it
        when record_receipt.receipt in ('accepted', 'sent') and present.attempt > 0
            and present.state in ('pending', 'leased', 'retry', 'unknown') then 'sent'
        else present.state
    end;
    is_freed := present.state = 'leased' and following <> 'leased';
    update public.apm_deliveries as d set
        state = following,
        state_reason = case
            when following = present.state then d.state_reason
            when following = 'delivered' then 'it has arrived'
            when following = 'sent' then 'the provider has it'
            when following = 'retry' then 'the provider could not deliver it now'
            else 'the provider could not deliver it'
        end,
        due_at = case
            when following = 'retry' and present.state <> 'retry'
                then record_receipt.at + apm_private.wait_after_return(present.attempt)
            else d.due_at
        end,
        receipt = record_receipt.receipt,
        receipt_at = record_receipt.at,
        provider_id = coalesce(record_receipt.provider_id, d.provider_id),
        provider_status = coalesce(record_receipt.provider_status, d.provider_status),
        sent_at = case when following in ('sent', 'delivered') then coalesce(d.sent_at, record_receipt.at) else d.sent_at end,
        delivered_at = case when has_arrived then coalesce(d.delivered_at, record_receipt.at) else d.delivered_at end,
        lease_owner = case when is_freed then null else d.lease_owner end,
        lease_until = case when is_freed then null else d.lease_until end
    where d.organization_id = present.organization_id and d.id = present.id;
    if has_arrived then
        update public.apm_contact_methods as c set last_ok_at = record_receipt.at
        where c.organization_id = present.organization_id and c.id = present.contact_method_id;
    end if;
    if present.incident_id is not null and apm_private.receipt_rank(record_receipt.receipt) in (3, 4) then
        insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, message, detail)
        values (
            present.organization_id, present.incident_id, record_receipt.at, 'delivery', 'messages',
            case present.channel::text
                when 'sms' then 'Text message' when 'voice' then 'Telephone call' when 'email' then 'E-mail'
                else initcap(present.channel::text)
            end || ' to ' || coalesce(nullif(left(present.recipient ->> 'name', 200), ''), 'somebody')
                || case when has_arrived then ': has arrived' else ': could not be delivered' end,
            jsonb_build_object('delivery_id', present.id, 'receipt', record_receipt.receipt)
        );
    end if;
    return 'recorded';
end
$$;

create or replace function apm_private.keep_receipt() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.state = 'sending' then
        new.earlier_provider_ids := array_remove(old.earlier_provider_ids || old.provider_id, null);
        new.provider_id := null;
        new.receipt := null;
        new.receipt_at := null;
    elsif new.receipt in ('delivered', 'read') then
        new.state := 'delivered';
        new.state_reason := 'it has arrived';
        new.sent_at := coalesce(new.sent_at, new.receipt_at);
        new.delivered_at := coalesce(new.delivered_at, new.receipt_at);
    elsif new.receipt = 'failed' then
        new.state := 'failed';
        new.state_reason := 'the provider could not deliver it';
    elsif new.receipt = 'returned' then
        new.state := apm_private.state_after_return(new.kind, new.attempt);
        new.state_reason := 'the provider could not deliver it now';
        new.due_at := new.receipt_at + apm_private.wait_after_return(new.attempt);
    elsif new.state <> 'sent' then
        new.state := 'sent';
        new.state_reason := 'the provider has it';
        new.sent_at := coalesce(new.sent_at, new.receipt_at);
    end if;
    return new;
end
$$;

drop function apm_private.claim_provider_message(uuid, text, boolean, timestamptz);
drop function apm_private.lock_telephone_of(uuid);
drop index public.idx_apm_deliveries_provider_message;
alter table public.apm_deliveries drop column is_presumed;
