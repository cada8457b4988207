-- post: the numbers of others are for owners and admins; the version before this one reads them from the table, and sends to what stands in the message.

revoke select (address) on public.apm_contact_methods from authenticated;

-- Members read messages, too. Where one goes stands in its contact; here it is for show.
create function apm_private.mask_recipient() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    new.recipient := jsonb_set(new.recipient, '{address}', to_jsonb(apm_private.mask_number(new.recipient ->> 'address')));
    return new;
end
$$;
call apm_private.hand_over('apm_private.mask_recipient()');
create trigger apm_deliveries_mask before insert on public.apm_deliveries
for each row when (new.channel in ('sms', 'voice') and new.recipient ->> 'address' is not null)
execute function apm_private.mask_recipient();

update public.apm_deliveries as d
set recipient = jsonb_set(d.recipient, '{address}', to_jsonb(apm_private.mask_number(d.recipient ->> 'address')))
where d.channel in ('sms', 'voice') and d.recipient ->> 'address' is not null;
