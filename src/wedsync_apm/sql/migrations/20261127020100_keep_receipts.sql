-- pre: APM extended: what providers say afterwards: receipts that only move forward, and answers that acknowledge.

-- What the provider says of the attempt under way, or of the last one.
alter table public.apm_deliveries
    add column receipt text constraint apm_deliveries_receipt_check
        check (receipt in ('accepted', 'sent', 'returned', 'failed', 'delivered', 'read')),
    add column receipt_at timestamptz,
    -- of the attempts before: what comes of those is no news of this one
    add column earlier_provider_ids text[] not null default '{}';
-- record_receipt, find_delivery: a provider and an operator know the message's id and not whose it is
create index idx_apm_deliveries_id on public.apm_deliveries (id);

-- Higher is further; a message that came back after all was not delivered, and one that was delivered never comes back.
create function apm_private.receipt_rank(receipt text) returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case receipt_rank.receipt
        when 'accepted' then 1 when 'sent' then 2 when 'returned' then 3 when 'failed' then 3 when 'delivered' then 4
        when 'read' then 5
    end
$$;
call apm_private.hand_over('apm_private.receipt_rank(text)');

-- A message that came back is worth another try for as long as it might still help.
create function apm_private.state_after_return(kind text, attempt int) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when state_after_return.kind <> 'update' and state_after_return.attempt < 8 then 'retry' else 'failed' end
$$;
call apm_private.hand_over('apm_private.state_after_return(text, int)');

-- Seconds until then: 30, 60, 120, 240, then 300.
create function apm_private.wait_after_return(attempt int) returns interval
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select make_interval(secs => least(30 * 2 ^ (greatest(wait_after_return.attempt, 1) - 1), 300))
$$;
call apm_private.hand_over('apm_private.wait_after_return(int)');

-- A receipt may overtake the sender's own record of the send. It waits in the row, and what the sender believes, or
-- whoever frees a dead sender's lease, does not put it back. A new attempt begins without one.
create function apm_private.keep_receipt() returns trigger
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
call apm_private.hand_over('apm_private.keep_receipt()');
create trigger apm_deliveries_keep_receipt before update of state on public.apm_deliveries
for each row when (
    (new.state = 'sending' and old.state <> 'sending')
    or (old.state = 'sending' and new.state <> 'sending' and new.receipt is not null)
)
execute function apm_private.keep_receipt();

-- Takes what a provider says of one message. `receipt` is accepted, sent, returned (it came back, another try is worth
-- it), failed, delivered or read. Tells what came of it: recorded; known (no further than before); late (of an attempt
-- that was given up); unknown. Whoever called is told yes in each case: there is nothing for a provider to repeat.
create function apm_private.record_receipt(
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
call apm_private.hand_over('apm_private.record_receipt(uuid, text, text, text, timestamptz)');

-- Answers that came from a channel, so that the same one heard twice does the same thing once.
create table apm_private.channel_events (
    organization_id uuid not null,
    source text not null,
    source_event_id text not null check (length(source_event_id) between 1 and 300),
    incident_id uuid,
    outcome text not null,
    received_at timestamptz not null,
    primary key (organization_id, source, source_event_id),
    foreign key (organization_id, incident_id) references public.apm_incidents (organization_id, id) on delete cascade
);
call apm_private.protect_table('apm_private.channel_events');
-- the cascade when an incident goes
create index idx_apm_channel_events_incident on apm_private.channel_events (organization_id, incident_id);

-- Acknowledges for a person who answered on a channel: a text, a key on the telephone, a button. Tells what came of it:
-- acknowledged; expired (it came again since); unknown; or the status that stood in the way. The same event again gets
-- the same answer and changes nothing. Without a generation it is for the incident as it stands.
create function apm_private.acknowledge_from_channel(
    incident_id uuid, generation int, receiver text, channel text, source_event_id text, at timestamptz
) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    present public.apm_incidents%rowtype;
    outcome text;
begin
    select i.* into present from public.apm_incidents as i where i.id = acknowledge_from_channel.incident_id for update;
    if not found then
        return 'unknown';
    end if;
    select e.outcome into outcome from apm_private.channel_events as e
    where e.organization_id = present.organization_id and e.source = acknowledge_from_channel.channel
        and e.source_event_id = acknowledge_from_channel.source_event_id;
    if found then
        return outcome;
    end if;
    outcome := case
        when present.status <> 'open' then present.status::text
        when present.generation <> acknowledge_from_channel.generation then 'expired'
        else 'acknowledged'
    end;
    if outcome = 'acknowledged' and present.status = 'open' then
        perform set_config('apm.actor', acknowledge_from_channel.receiver, true);
        perform set_config('apm.note', case acknowledge_from_channel.channel
            when 'sms' then 'by text message' when 'voice' then 'on the telephone' when 'slack' then 'in Slack'
            when 'pagerduty' then 'in PagerDuty' else 'by ' || acknowledge_from_channel.channel
        end, true);
        perform set_config('apm.at', acknowledge_from_channel.at::text, true);
        update public.apm_incidents as i set status = 'acknowledged'
        where i.organization_id = present.organization_id and i.id = present.id;
        perform set_config('apm.actor', '', true), set_config('apm.note', '', true), set_config('apm.at', '', true);
    end if;
    insert into apm_private.channel_events (organization_id, source, source_event_id, incident_id, outcome, received_at)
    values (
        present.organization_id, acknowledge_from_channel.channel, acknowledge_from_channel.source_event_id, present.id,
        outcome, acknowledge_from_channel.at
    );
    return outcome;
end
$$;
call apm_private.hand_over('apm_private.acknowledge_from_channel(uuid, int, text, text, text, timestamptz)');
grant execute on function apm_private.record_receipt(uuid, text, text, text, timestamptz),
    apm_private.acknowledge_from_channel(uuid, int, text, text, text, timestamptz) to apm_api;
