-- pre: APM extended: a push message that carried a code has shown that it arrived, so nobody has to type the code.

-- Whether that verified its contact. Only for the code that was sent last, and while it is good: another subscription
-- since has taken it away.
create function apm_private.verify_by_receipt(delivery_id uuid, at timestamptz) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    sent record;
begin
    -- The contact before its code, as whoever changes one of them locks them.
    select c.organization_id, c.id as contact_method_id, d.created_at as at into sent
    from public.apm_contact_methods as c
    join public.apm_deliveries as d on d.organization_id = c.organization_id and d.contact_method_id = c.id
    where d.id = verify_by_receipt.delivery_id and d.kind = 'verify' and d.channel = 'push' and c.disabled_at is null
    for update of c;
    if not found then
        return false;
    end if;
    update apm_private.contact_codes as k set expires_at = verify_by_receipt.at
    where k.organization_id = sent.organization_id and k.contact_method_id = sent.contact_method_id
        and k.sent_at[cardinality(k.sent_at)] = sent.at and k.expires_at > verify_by_receipt.at and k.wrong_count < 5;
    if not found then
        return false;
    end if;
    update public.apm_contact_methods as c set verified_at = verify_by_receipt.at
    where c.organization_id = sent.organization_id and c.id = sent.contact_method_id;
    return true;
end
$$;
call apm_private.hand_over('apm_private.verify_by_receipt(uuid, timestamptz)');
grant execute on function apm_private.verify_by_receipt(uuid, timestamptz) to apm_api;
