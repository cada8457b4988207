-- pre: post-mortems and what was decided in them, tracked until it is done.

create table public.apm_postmortems (
    organization_id uuid not null,
    incident_id uuid not null,
    summary text not null default '' check (length(summary) <= 10000),
    root_cause text not null default '' check (length(root_cause) <= 10000),
    contributing_factors text[] not null default '{}' check (cardinality(contributing_factors) <= 50),
    went_well text[] not null default '{}' check (cardinality(went_well) <= 50),
    went_wrong text[] not null default '{}' check (cardinality(went_wrong) <= 50),
    preventive_measures text[] not null default '{}' check (cardinality(preventive_measures) <= 50),
    -- how many of the vendor's own customers noticed; null: not known
    customers_affected int check (customers_affected >= 0),
    data_loss text not null default '' check (length(data_loss) <= 2000),
    financial_impact_pounds numeric(12, 2) check (financial_impact_pounds >= 0),
    is_false_positive boolean not null default false,
    approved_by uuid,
    approved_by_name text,
    approved_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, incident_id),
    foreign key (organization_id, incident_id) references public.apm_incidents (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_postmortems');

create table public.apm_postmortem_actions (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    incident_id uuid not null,
    title text not null check (length(title) between 1 and 500),
    owner text not null check (length(owner) between 1 and 200),
    due_on date not null,
    done_at timestamptz,
    -- when its owner was told that it is overdue
    told_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    foreign key (organization_id, incident_id)
        references public.apm_postmortems (organization_id, incident_id) on delete cascade
);
call apm_private.protect_table('public.apm_postmortem_actions');
-- list_actions: what is not done, the most overdue first; and the cascade
create index idx_apm_postmortem_actions_open on public.apm_postmortem_actions (organization_id, due_on) where done_at is null;
create index idx_apm_postmortem_actions_incident on public.apm_postmortem_actions (organization_id, incident_id);
-- tell_overdue: over all organizations
create index idx_apm_postmortem_actions_untold on public.apm_postmortem_actions (due_on)
where done_at is null and told_at is null;

grant select on public.apm_postmortems, public.apm_postmortem_actions to authenticated;
call apm_private.grant_writes('public.apm_postmortems', kept => array['approved_by', 'approved_by_name']);
call apm_private.grant_writes('public.apm_postmortem_actions', kept => array['told_at']);
do $$
declare
    name text;
begin
    foreach name in array array['apm_postmortems', 'apm_postmortem_actions']
    loop
        execute format('create policy %I on public.%I for select to authenticated
            using (
                organization_id = any ((select public.apm_current_organization_ids())::uuid[])
                or (select public.apm_operator_role()) is not null
            )', name || '_authenticated_select', name);
        execute format('create policy %I on public.%I for insert to authenticated
            with check (
                organization_id = any ((select public.apm_organization_ids_as(''MEMBER''))::uuid[])
                or (select public.apm_operator_role()) = ''oncall''
            )', name || '_authenticated_insert', name);
        execute format('create policy %I on public.%I for update to authenticated
            using (
                organization_id = any ((select public.apm_organization_ids_as(''MEMBER''))::uuid[])
                or (select public.apm_operator_role()) = ''oncall''
            )
            with check (
                organization_id = any ((select public.apm_organization_ids_as(''MEMBER''))::uuid[])
                or (select public.apm_operator_role()) = ''oncall''
            )', name || '_authenticated_update', name);
        execute format('create policy %I on public.%I for delete to authenticated
            using (organization_id = any ((select public.apm_organization_ids_as(''MEMBER''))::uuid[]))',
            name || '_authenticated_delete', name);
        execute format('create trigger %I after insert or update or delete on public.%I
            for each row execute function apm_private.write_audit()', name || '_audit', name);
    end loop;
end
$$;

-- Who approves stands there by his own name, and is an owner, an admin or on call for the platform; what is changed
-- afterwards has to be approved again.
create function apm_private.approve_postmortem() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.approved_at is not null and (tg_op = 'INSERT' or new.approved_at is distinct from old.approved_at) then
        if not (
            apm_private.is_service() or new.organization_id = any (public.apm_organization_ids_as('ADMIN'))
            or coalesce(public.apm_operator_role() = 'oncall', false)
        ) then
            raise exception 'Only an owner or admin can approve this.' using errcode = 'AP403';
        end if;
        new.approved_at := clock_timestamp();
        new.approved_by := apm_private.caller_id();
        new.approved_by_name := apm_private.actor_name();
    elsif new.approved_at is null or (
        tg_op = 'UPDATE' and (to_jsonb(new) - 'updated_at') <> (to_jsonb(old) - 'updated_at')
    ) then
        new.approved_at := null;
        new.approved_by := null;
        new.approved_by_name := null;
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.approve_postmortem()');
create trigger apm_postmortems_approve before insert or update on public.apm_postmortems
for each row execute function apm_private.approve_postmortem();
