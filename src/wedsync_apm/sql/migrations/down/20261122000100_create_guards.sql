drop function apm_private.is_service();
drop function apm_private.caller_id();
drop function apm_private.claims();
drop procedure apm_private.hand_over(regprocedure);
drop procedure apm_private.grant_writes(regclass, text[], boolean);
drop procedure apm_private.protect_table(regclass, boolean);
drop function apm_private.touch_updated_at();
drop function apm_private.keep_tenant();
drop procedure apm_private.drop_enum(text);
drop procedure apm_private.ensure_enum(text, text[]);
drop schema apm_partitions;

do $$
declare
    role_name text;
    book record;
begin
    -- What the runner gave to the processes of its own books, the only tables left here.
    for book in
        select p.polname, p.polrelid::regclass as of_table
        from pg_policy as p
        join pg_class as c on c.oid = p.polrelid and c.relnamespace = 'apm_private'::regnamespace
        where p.polname like '%\_services\_select'
    loop
        execute format('drop policy %I on %s', book.polname, book.of_table);
    end loop;
    revoke all on all tables in schema apm_private from apm_api, apm_writer, apm_engine, apm_definer;
    revoke all on schema public, apm_private from apm_api, apm_writer, apm_engine, apm_definer;

    -- Roles belong to the cluster: those that another database of it uses, or that are not ours to drop, stay.
    foreach role_name in array array['apm_engine', 'apm_writer', 'apm_api', 'apm_definer']
    loop
        begin
            execute format('drop role %I', role_name);
        exception when dependent_objects_still_exist or insufficient_privilege or object_in_use then
            raise notice 'role % stays', role_name;
        end;
    end loop;
    -- It has no rights of its own anywhere, so the others tell whether it is still needed.
    if to_regrole('apm_engine') is null and to_regrole('apm_writer') is null then
        drop role apm_service;
    end if;
end
$$;

-- The runner keeps its books in it; without them nothing of ours is left there.
do $$
begin
    drop schema apm_private;
exception when dependent_objects_still_exist then
    null;
end
$$;
