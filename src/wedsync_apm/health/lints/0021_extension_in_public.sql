-- title: An extension in the schema public
-- level: WARN
-- categories: SECURITY
-- description: Functions of an extension in public are found by everybody's search_path, and on Supabase they are endpoints.
-- remediation: alter extension … set schema extensions;
select
    format('extension %s', e.extname) as object,
    format('%s is installed in public', e.extname) as detail,
    jsonb_build_object('name', e.extname, 'schema', 'public') as metadata
from pg_extension as e
where e.extnamespace = 'public'::regnamespace
