delete from public.apm_deliveries where channel = 'apprise';
delete from public.apm_drill_calls where channel = 'apprise';
delete from public.apm_contact_methods where channel = 'apprise';
update public.apm_alerts set notification_channels = array_remove(notification_channels, 'apprise')
where 'apprise' = any (notification_channels);
update public.apm_notification_rules set channels = array_remove(channels, 'apprise') where 'apprise' = any (channels);

-- Functions that have the type in their signature, and indexes and triggers that have a label in their condition, would hold
-- the old type fast: they stand aside meanwhile, and come back as they were. A host's own type keeps its labels, and nothing
-- moves.
do $$
declare
    ours oid := 'public.notification_channel'::regtype;
    both_ways oid[] := array[ours, (select t.typarray from pg_type as t where t.oid = ours)];
    aside record;
    asides jsonb := '[]';
    functions jsonb := '[]';
    grantee text;
begin
    if obj_description(ours, 'pg_type') is distinct from 'made by wedsync-apm' then
        return;
    end if;
    perform set_config('check_function_bodies', 'off', true);
    for aside in
        select format('trigger %I on %s', t.tgname, t.tgrelid::regclass) as what, pg_get_triggerdef(t.oid) as definition
        from pg_trigger as t
        where not t.tgisinternal and exists (
            select from pg_depend as d
            left join pg_attribute as a
                on d.refclassid = 'pg_class'::regclass and a.attrelid = d.refobjid and a.attnum = d.refobjsubid
            where d.classid = 'pg_trigger'::regclass and d.objid = t.oid
                and (a.atttypid = any (both_ways) or (d.refclassid = 'pg_type'::regclass and d.refobjid = any (both_ways)))
        )
        union all
        select 'index ' || c.oid::regclass, pg_get_indexdef(c.oid)
        from pg_class as c
        where c.relkind = 'i' and exists (
            select from pg_depend as d
            where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_type'::regclass
                and d.refobjid = any (both_ways)
        )
    loop
        asides := asides || to_jsonb(aside);
        execute 'drop ' || aside.what;
    end loop;
    for aside in
        select p.oid::regprocedure::text as signature, pg_get_functiondef(p.oid) as definition,
            array(
                select a.grantee::regrole::text
                from aclexplode(p.proacl) with ordinality as a (grantor, grantee, granted, may_grant, n)
                where a.grantee <> p.proowner and a.grantee <> 0
                order by a.n
            ) as grantees
        from pg_proc as p
        where exists (
            select from pg_depend as d
            where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_type'::regclass
                and d.refobjid = any (both_ways)
        )
        order by p.oid
    loop
        functions := functions || to_jsonb(aside);
        execute 'drop function ' || aside.signature;
    end loop;
    call apm_private.drop_enum_label('notification_channel', 'apprise');
    for aside in select * from jsonb_to_recordset(functions) as f (signature text, definition text, grantees text[]) loop
        execute aside.definition;
        execute format('call apm_private.hand_over(%L)', aside.signature);
        foreach grantee in array aside.grantees loop
            execute format('grant execute on function %s to %s', aside.signature, grantee);
        end loop;
    end loop;
    for aside in select * from jsonb_to_recordset(asides) as a (what text, definition text) loop
        execute aside.definition;
    end loop;
end
$$;
