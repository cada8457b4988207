-- pre: inhibition: one fault, and not all that comes of it.

create table public.apm_inhibition_rules (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    name text not null check (length(name) between 1 and 200),
    source_matchers jsonb not null,
    target_matchers jsonb not null,
    -- labels that source and target have alike; one that both lack is alike
    equal text[] not null default '{}' check (cardinality(equal) <= 20),
    -- the sources are the platform's own incidents, the targets everybody's
    is_platform_wide boolean not null default false,
    -- what a vendor reads whose incident is held back; never whose incident holds it, if that is the platform's
    words text not null default '' check (length(words) <= 300),
    -- at a wedding, incidents of this severity and worse are told all the same
    told_at_weddings public.alert_severity not null,
    is_active boolean not null default true,
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_inhibition_rules_name_key unique (organization_id, name),
    constraint apm_inhibition_rules_words check (not is_platform_wide or length(btrim(words)) > 0)
);
call apm_private.protect_table('public.apm_inhibition_rules');
create trigger apm_inhibition_rules_audit after insert or update or delete on public.apm_inhibition_rules
for each row execute function apm_private.write_audit();
-- held_back_by: those that count for every organization
create index idx_apm_inhibition_rules_platform on public.apm_inhibition_rules (is_platform_wide) where is_platform_wide;
-- What breaks a wedding waits for nobody's tidiness, unless somebody says so.
create function apm_private.choose_what_weddings_are_told() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.told_at_weddings := coalesce(new.told_at_weddings, 'critical');
    return new;
end
$$;
revoke all on function apm_private.choose_what_weddings_are_told() from public, anon, authenticated, service_role;
create trigger apm_inhibition_rules_choose before insert or update on public.apm_inhibition_rules
for each row execute function apm_private.choose_what_weddings_are_told();
create trigger apm_inhibition_rules_check before insert or update on public.apm_inhibition_rules
for each row execute function apm_private.check_holding();
grant select on public.apm_inhibition_rules to authenticated;
call apm_private.grant_writes('public.apm_inhibition_rules');
create policy apm_inhibition_rules_authenticated_select on public.apm_inhibition_rules for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_inhibition_rules_authenticated_insert on public.apm_inhibition_rules for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_inhibition_rules_authenticated_update on public.apm_inhibition_rules for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_inhibition_rules_authenticated_delete on public.apm_inhibition_rules for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
