-- What single channels need to know beside the outbox, as the engine.

-- list_earlier_ids [apm_engine] --
-- The messages that a contact has of an incident, as the other side knows them, to edit them in place.
select d.provider_id
from public.apm_deliveries as d
where d.organization_id = %(organization_id)s::uuid and d.incident_id = %(incident_id)s::uuid
    and d.contact_method_id = %(contact_method_id)s::uuid and d.id <> %(id)s::uuid
    and d.provider_id is not null
group by d.provider_id
order by max(d.created_at) desc
limit 10

-- end_contact [apm_engine] --
-- Switches off a contact whose address is gone for good, as the other side says.
update public.apm_contact_methods as c
set disabled_at = %(at)s::timestamptz, disabled_reason = left(%(reason)s::text, 500)
where c.organization_id = %(organization_id)s::uuid and c.id = %(contact_method_id)s::uuid and c.disabled_at is null

-- list_taken_ids [apm_engine] --
-- The texts and calls at the provider, to the telephone of one contact, that are known to be other messages' or earlier tries'.
select coalesce(array_agg(distinct t.provider_id), '{}') as taken
from public.apm_contact_methods as own
join public.apm_contact_methods as c on c.address = own.address and c.channel in ('sms', 'voice')
join public.apm_deliveries as d on d.organization_id = c.organization_id and d.contact_method_id = c.id
cross join lateral unnest(
    d.earlier_provider_ids || case when d.id = %(id)s::uuid then null else d.provider_id end
) as t (provider_id)
where own.organization_id = %(organization_id)s::uuid and own.id = %(contact_method_id)s::uuid
    and d.created_at > %(since)s::timestamptz - interval '1 day' and t.provider_id is not null

-- claim_provider_message [apm_engine] --
-- Whether a text or a call at the provider is this message's: presumed ones give way to proven ones.
select apm_private.claim_provider_message(
    %(id)s::uuid, %(provider_id)s::text, %(is_presumed)s::boolean, %(at)s::timestamptz
) as is_claimed
