-- pre: APM extended: a provider's emergency contacts are contacts of its own business, so that nobody is named in vain.

create function apm_private.check_emergency_override() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    named jsonb := new.emergency_contact_override -> 'contact_method_ids';
begin
    if jsonb_typeof(named) is distinct from 'array'
        or (select count(*) from jsonb_object_keys(new.emergency_contact_override)) <> 1 then
        raise exception 'is {"contact_method_ids": […]} and nothing else; an address is made a contact first'
            using errcode = 'check_violation', constraint = 'emergency_contact_override', table = tg_table_name;
    elsif jsonb_array_length(named) > 100 or exists (
        select from jsonb_array_elements(named) as n (one)
        where not exists (
            select from public.apm_contact_methods as m
            where m.organization_id = new.organization_id and to_jsonb(m.id) = lower(n.one::text)::jsonb
        )
    ) then
        raise exception 'names what is no contact of the business, or more than a hundred'
            using errcode = 'check_violation', constraint = 'emergency_contact_override', table = tg_table_name;
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.check_emergency_override()');
create trigger apm_configurations_emergency before insert or update of emergency_contact_override
on public.apm_configurations
for each row when (new.emergency_contact_override is not null) execute function apm_private.check_emergency_override();
