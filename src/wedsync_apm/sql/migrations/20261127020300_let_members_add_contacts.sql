-- pre: APM extended: a member keeps contacts of his own; another's, and the team's, are an admin's.

drop policy apm_contact_methods_authenticated_insert on public.apm_contact_methods;
create policy apm_contact_methods_authenticated_insert on public.apm_contact_methods for insert to authenticated
with check (
    organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[])
    or (
        organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
        and user_id = (select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid)
        and (select coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'kind', 'user') <> 'key')
    )
);
drop policy apm_contact_methods_authenticated_update on public.apm_contact_methods;
create policy apm_contact_methods_authenticated_update on public.apm_contact_methods for update to authenticated
using (
    organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[])
    or (
        organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
        and user_id = (select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid)
        and (select coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'kind', 'user') <> 'key')
    )
)
with check (
    organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[])
    or (
        organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
        and user_id = (select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid)
        and (select coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'kind', 'user') <> 'key')
    )
);
