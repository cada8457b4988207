-- pre: APM extended: a call that speaks is a channel; the label has a migration of its own, before the first that uses it.

-- The way back of a label. PostgreSQL takes none off an enum, so the type is made anew without it and its columns moved
-- over, with their defaults and checks. Rows that hold the label must be gone. A host's own type keeps it.
create procedure apm_private.drop_enum_label(name text, label text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    ours oid := to_regtype('public.' || quote_ident(drop_enum_label.name));
    listing oid := (select t.typarray from pg_type as t where t.oid = ours);
    labels text := (
        select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
        from pg_enum as e where e.enumtypid = ours and e.enumlabel <> drop_enum_label.label
    );
    moved record;
    checked record;
    checks jsonb := '[]';
begin
    if obj_description(ours, 'pg_type') is distinct from 'made by wedsync-apm' then
        return;
    end if;
    for checked in
        select distinct c.conrelid::regclass::text as host, c.conname::text as name, pg_get_constraintdef(c.oid) as definition
        from pg_constraint as c
        join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = any (c.conkey) and a.atttypid in (ours, listing)
        where c.contype = 'c'
    loop
        checks := checks || to_jsonb(checked);
        execute format('alter table %s drop constraint %I', checked.host, checked.name);
    end loop;
    execute format('create type public.%I as enum (%s)', drop_enum_label.name || '_anew', labels);
    for moved in
        select a.attrelid::regclass as host, a.attname as name, a.atttypid = listing as is_listing,
            pg_get_expr(d.adbin, d.adrelid) as preset
        from pg_attribute as a
        join pg_class as t on t.oid = a.attrelid and t.relkind in ('r', 'p') and not t.relispartition
        left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.atttypid in (ours, listing) and not a.attisdropped
    loop
        execute format('alter table %s alter column %I drop default', moved.host, moved.name);
        execute format(
            'alter table %1$s alter column %2$I type public.%3$I%4$s using %2$I::text%4$s::public.%3$I%4$s',
            moved.host, moved.name, drop_enum_label.name || '_anew', case when moved.is_listing then '[]' else '' end
        );
        if moved.preset is not null then
            execute format(
                'alter table %s alter column %I set default %s', moved.host, moved.name,
                replace(moved.preset, quote_ident(drop_enum_label.name), quote_ident(drop_enum_label.name || '_anew'))
            );
        end if;
    end loop;
    execute format('drop type public.%I', drop_enum_label.name);
    execute format('alter type public.%I rename to %I', drop_enum_label.name || '_anew', drop_enum_label.name);
    execute format('comment on type public.%I is %L', drop_enum_label.name, 'made by wedsync-apm');
    for checked in select * from jsonb_to_recordset(checks) as c (host text, name text, definition text) loop
        execute format('alter table %s add constraint %I %s', checked.host, checked.name, checked.definition);
    end loop;
end
$$;
revoke all on procedure apm_private.drop_enum_label(text, text) from public, anon, authenticated, service_role;

alter type public.notification_channel add value if not exists 'voice' after 'sms';
