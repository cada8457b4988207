-- title: Rights that Row Level Security does not cover
-- level: ERROR
-- categories: SECURITY
-- description: Members reach partitions and engine state through nothing but their parents and functions, and TRUNCATE, REFERENCES, TRIGGER and MAINTAIN ask no policy.
-- remediation: revoke … on … from authenticated;
select
    r.object,
    format('authenticated may %s on %s.%s', string_agg(a.privilege_type, ', ' order by a.privilege_type), r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'is_partition', r.relispartition) as metadata
from own_relations as r
cross join lateral aclexplode(r.relacl) as a
where a.grantee = to_regrole('authenticated')
    and (
        r.schema_name in ('apm_private', 'apm_partitions')
        or a.privilege_type in ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
    )
group by r.object, r.schema_name, r.name, r.relispartition
