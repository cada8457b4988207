-- title: An extension is behind its files
-- level: WARN
-- categories: SECURITY
-- description: The server has newer files of an extension than the database uses.
-- remediation: alter extension … update;
select
    format('extension %s', e.extname) as object,
    format('%s is %s and could be %s', e.extname, e.extversion, a.default_version) as detail,
    jsonb_build_object('name', e.extname, 'installed', e.extversion, 'available', a.default_version) as metadata
from pg_extension as e
join pg_available_extensions as a on a.name = e.extname
where a.default_version <> e.extversion
