drop policy apm_contact_methods_authenticated_insert on public.apm_contact_methods;
create policy apm_contact_methods_authenticated_insert on public.apm_contact_methods for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
drop policy apm_contact_methods_authenticated_update on public.apm_contact_methods;
create policy apm_contact_methods_authenticated_update on public.apm_contact_methods for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
