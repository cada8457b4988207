-- pre: live connections hear at once that somebody's access has changed, and every announced change has a name of its own.

-- The transaction makes a payload unlike that of a later change of the same row: all processes that hear it derive the
-- same name of the event from it, so that a reader goes on at any of them where he left off at another.
create or replace function apm_private.notify_live() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_notify('apm_live', json_build_object(
        'organization_id', new.organization_id, 'topic', tg_argv[0], 'id', new.id, 'action', lower(tg_op),
        'xid', pg_current_xact_id()::text
    )::text);
    return null;
end
$$;

-- What concerns everybody: no organization, and no row that only some may see.
create function apm_private.notify_everybody() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_notify('apm_live', json_build_object(
        'organization_id', null, 'topic', tg_argv[0], 'id', null, 'action', lower(tg_op),
        'xid', pg_current_xact_id()::text
    )::text);
    return null;
end
$$;
revoke all on function apm_private.notify_everybody() from public, anon, authenticated, service_role;
create trigger guard_overrides_live after insert or update on apm_private.guard_overrides
for each row execute function apm_private.notify_everybody('guard');

-- Whose access may have changed: never handed on, only acted upon. The argument is the column with the person or key.
create function apm_private.notify_access() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_notify('apm_live', json_build_object('topic', 'access', 'subject', changed.subject)::text)
    from (
        select case when tg_op <> 'INSERT' then to_jsonb(old) ->> tg_argv[0] end as subject
        union
        select case when tg_op <> 'DELETE' then to_jsonb(new) ->> tg_argv[0] end
    ) as changed
    where changed.subject is not null;
    return null;
end
$$;
revoke all on function apm_private.notify_access() from public, anon, authenticated, service_role;

create trigger apm_memberships_access after insert or update or delete on public.apm_memberships
for each row execute function apm_private.notify_access('user_id');
create trigger apm_operators_access after insert or update or delete on public.apm_operators
for each row execute function apm_private.notify_access('user_id');
-- not when it was last used
create trigger apm_api_keys_access after update of scope, expires_at, revoked_at or delete on public.apm_api_keys
for each row execute function apm_private.notify_access('id');
create trigger users_access after update of token_generation, disabled_at or delete on apm_private.users
for each row execute function apm_private.notify_access('id');
-- A host's own table is never touched: changes there are found when everybody's access is looked at again.
do $$
begin
    if obj_description('public.user_profiles'::regclass, 'pg_class') = 'made by wedsync-apm: standalone host table' then
        create trigger user_profiles_access
        after insert or update of user_id, organization_id, role or delete on public.user_profiles
        for each row execute function apm_private.notify_access('user_id');
    end if;
end
$$;

-- What the database would let each of many callers hear, by the same functions that its policies ask. Thousands come
-- back at once after a restart: one question for hundreds of them, where each would need a transaction of his own.
create function apm_private.live_standings(subjects uuid[], kinds text[])
returns table (
    subject uuid, kind text, organization_ids uuid[], operator_role text, token_generation int, expires_at timestamptz
)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    asked record;
begin
    for asked in
        select u.subject as id, u.kind as kind
        from unnest(live_standings.subjects, live_standings.kinds) as u (subject, kind)
    loop
        perform set_config(
            'request.jwt.claims', json_build_object('sub', asked.id, 'kind', asked.kind)::text, true
        );
        return query
        select asked.id, asked.kind, public.apm_current_organization_ids(), public.apm_operator_role(),
            (
                select u.token_generation from apm_private.users as u
                where asked.kind = 'user' and u.id = asked.id and u.disabled_at is null
            ),
            (select k.expires_at from public.apm_api_keys as k where asked.kind = 'key' and k.id = asked.id);
    end loop;
    perform set_config('request.jwt.claims', '', true);
end
$$;
call apm_private.hand_over('apm_private.live_standings(uuid[], text[])');
grant execute on function apm_private.live_standings(uuid[], text[]) to apm_api;
