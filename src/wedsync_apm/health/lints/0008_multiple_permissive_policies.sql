-- title: Several permissive policies for one role and command
-- level: INFO
-- categories: PERFORMANCE
-- description: Permissive policies are joined by OR: each is asked for each row, and the widest one counts.
-- remediation: join them into one policy
select
    x.object,
    format('%s.%s has %s permissive policies for %s', x.schema_name, x.name, x.policies, x.role_name) as detail,
    jsonb_build_object('schema', x.schema_name, 'name', x.name, 'role', x.role_name, 'command', x.command, 'policies', x.policies) as metadata
from (
    select r.object, r.schema_name, r.name, pg_get_userbyid(m.member)::text as role_name, p.polcmd as command, count(*) as policies
    from pg_policy as p
    join own_relations as r on r.oid = p.polrelid
    cross join unnest(p.polroles) as m (member)
    where p.polpermissive
    group by r.object, r.schema_name, r.name, m.member, p.polcmd
    having count(*) > 1
) as x
