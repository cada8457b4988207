drop function public.apm_calendar_habits(uuid);
drop function apm_private.host_locale(uuid);
drop function public.apm_reveal_wedding(uuid, text);
drop function public.apm_shared_weddings(uuid[]);
drop function public.apm_leave_wedding(uuid);
drop function public.apm_join_wedding(uuid, bytea, timestamptz);
drop function public.apm_share_wedding(uuid, bytea, timestamptz);
drop table apm_private.wedding_codes;
drop table public.apm_wedding_imports;
drop policy apm_wedding_people_authenticated_select on public.apm_wedding_people;
create policy apm_wedding_people_authenticated_select on public.apm_wedding_people for select to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[]));
alter table public.apm_wedding_people drop column visible_to;
drop index public.idx_apm_weddings_shared;
alter table public.apm_weddings drop constraint apm_weddings_shared_key, drop column shared_key;
