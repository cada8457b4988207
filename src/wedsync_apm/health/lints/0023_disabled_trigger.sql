-- title: A trigger is switched off
-- level: ERROR
-- categories: SECURITY
-- description: Triggers keep a row with its tenant, write the audit trail and wake the engine. Switched off, none of that happens, and nothing says so. It also covers the triggers by which foreign keys are kept.
-- remediation: alter table … enable trigger …;
select
    format('trigger %s.%s', t.tgrelid::regclass, t.tgname) as object,
    format('the trigger %s of %s.%s is off', t.tgname, r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'trigger', t.tgname, 'is_partition', r.relispartition) as metadata
from pg_trigger as t
join own_relations as r on r.oid = t.tgrelid
where t.tgenabled in ('D', 'R')
