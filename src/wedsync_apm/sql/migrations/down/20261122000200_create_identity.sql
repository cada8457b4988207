-- Policies, triggers and rights on the host tables that are ours; a host's own have none of them.
do $$
declare
    ours regclass;
    gone record;
begin
    foreach ours in array array['public.organizations', 'public.user_profiles', 'public.clients']::regclass[]
    loop
        for gone in select polname from pg_policy where polrelid = ours
        loop
            if obj_description(ours, 'pg_class') = 'made by wedsync-apm: standalone host table' then
                execute format('drop policy %I on %s', gone.polname, ours);
            end if;
        end loop;
        for gone in
            select t.tgname from pg_trigger as t
            where t.tgrelid = ours and t.tgfoid in (
                'apm_private.keep_tenant()'::regprocedure, 'apm_private.touch_updated_at()'::regprocedure
            )
        loop
            execute format('drop trigger %I on %s', gone.tgname, ours);
        end loop;
        if obj_description(ours, 'pg_class') = 'made by wedsync-apm: standalone host table' then
            execute format('revoke all on %s from apm_engine, service_role, authenticated', ours);
        end if;
        execute format('revoke all on %s from apm_definer', ours);
    end loop;
end
$$;

drop function apm_private.sign_in_wait(text, timestamptz, int);
drop function apm_private.count_sign_in_failure(text, timestamptz, int);
drop function apm_private.touch_api_key(uuid);
drop function apm_private.find_api_key(bytea);
drop function apm_private.is_token_current(uuid, int);
drop function apm_private.find_login(text);
drop table public.apm_audit_log;
drop table public.apm_api_keys;
drop table public.apm_operators;
drop table public.apm_memberships;
drop function public.apm_my_organizations();
drop function public.apm_operator_role();
drop function public.apm_role_in(uuid);
drop function public.apm_organization_ids_as(text);
drop function public.apm_current_organization_ids();
drop function apm_private.caller_memberships();
drop function apm_private.host_weddings(uuid[], date, date);
drop function apm_private.host_organizations(uuid[]);
drop function apm_private.host_memberships(uuid);
drop function apm_private.write_audit();
drop table apm_private.platform;
drop table apm_private.sign_in_attempts;
drop table apm_private.users;
