drop function apm_private.live_standings(uuid[], text[]);
do $$
begin
    if obj_description('public.user_profiles'::regclass, 'pg_class') = 'made by wedsync-apm: standalone host table' then
        drop trigger user_profiles_access on public.user_profiles;
    end if;
end
$$;
drop trigger users_access on apm_private.users;
drop trigger apm_api_keys_access on public.apm_api_keys;
drop trigger apm_operators_access on public.apm_operators;
drop trigger apm_memberships_access on public.apm_memberships;
drop trigger guard_overrides_live on apm_private.guard_overrides;
drop function apm_private.notify_access();
drop function apm_private.notify_everybody();

create or replace function apm_private.notify_live() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_notify('apm_live', json_build_object(
        'organization_id', new.organization_id, 'topic', tg_argv[0], 'id', new.id, 'action', lower(tg_op)
    )::text);
    return null;
end
$$;
