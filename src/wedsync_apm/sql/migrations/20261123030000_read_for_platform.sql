-- pre: a platform key of the scope read: expressions over the samples of all organizations, and nothing else.

alter table public.apm_api_keys drop constraint apm_api_keys_platform_ingests;
-- a platform key takes samples in or reads them; it opens nothing else of any organization
alter table public.apm_api_keys add constraint apm_api_keys_platform_scopes check (
    is_platform = (organization_id is null) and (not is_platform or scope in ('ingest', 'read'))
);

-- Whether the caller is a platform key that may read and is still good. Such a key belongs to no organization, so
-- that no policy opens anything to it: it reads by the functions below, which ask this one.
create function apm_private.is_platform_reader() returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from public.apm_api_keys as k
        where k.id = apm_private.caller_id() and apm_private.claims() ->> 'kind' = 'key'
            and k.is_platform and k.scope = 'read'
            and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
    )
$$;
call apm_private.hand_over('apm_private.is_platform_reader()');
grant execute on function apm_private.is_platform_reader() to apm_definer;

-- The series of the given organizations (null: of all) with these names (null: any), for a platform reader.
create function public.apm_platform_series(organization_ids uuid[], metric_names text[])
returns setof public.apm_series
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.*
    from public.apm_series as s
    where (select apm_private.is_platform_reader())
        and (apm_platform_series.organization_ids is null or s.organization_id = any (apm_platform_series.organization_ids))
        and (apm_platform_series.metric_names is null or s.metric_name = any (apm_platform_series.metric_names))
$$;
call apm_private.hand_over('public.apm_platform_series(uuid[], text[])');
grant execute on function public.apm_platform_series(uuid[], text[]) to authenticated;

-- The rows that can hold samples of ["from", "to") of the given organizations, for a platform reader.
create function public.apm_platform_blocks(organization_ids uuid[], "from" timestamptz, "to" timestamptz)
returns setof public.apm_metrics
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select b.*
    from public.apm_metrics as b
    where (select apm_private.is_platform_reader())
        and b.level = 0
        and b.organization_id = any (apm_platform_blocks.organization_ids)
        and b."timestamp" >= apm_platform_blocks."from" - interval '1 hour'
        and b."timestamp" < apm_platform_blocks."to"
        and b.ends_at >= apm_platform_blocks."from"
    union all
    select b.*
    from public.apm_metrics as b
    where (select apm_private.is_platform_reader())
        and b.level = 1
        and b.organization_id = any (apm_platform_blocks.organization_ids)
        and b."timestamp" >= apm_platform_blocks."from" - interval '1 day'
        and b."timestamp" < apm_platform_blocks."to"
        and b.ends_at >= apm_platform_blocks."from"
$$;
call apm_private.hand_over('public.apm_platform_blocks(uuid[], timestamptz, timestamptz)');
grant execute on function public.apm_platform_blocks(uuid[], timestamptz, timestamptz) to authenticated;

-- Notes in the audit log what a platform reader asks: an expression once an hour. False for anybody else.
create function public.apm_note_platform_read(expression text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not apm_private.is_platform_reader() then
        return false;
    end if;
    insert into public.apm_audit_log (actor_id, actor, action, object_type, object_id, new_values)
    select apm_private.caller_id(), coalesce(apm_private.claims() ->> 'name', 'platform key'), 'read', 'apm_metrics',
        apm_private.caller_id()::text, jsonb_build_object('expression', apm_note_platform_read.expression)
    where not exists (
        select from public.apm_audit_log as l
        where l.organization_id is null and l.at > now() - interval '1 hour'
            and l.actor_id = apm_private.caller_id() and l.action = 'read'
            and l.new_values ->> 'expression' = apm_note_platform_read.expression
    );
    return true;
end
$$;
call apm_private.hand_over('public.apm_note_platform_read(text)');
grant execute on function public.apm_note_platform_read(text) to authenticated;
