-- title: A function looks names up in its caller's path
-- level: ERROR
-- categories: SECURITY
-- description: A SECURITY DEFINER function without a fixed search_path runs what a caller puts into his own path, with its owner's rights.
-- remediation: alter function … set search_path = pg_catalog, pg_temp;
select
    f.object,
    format('%s runs with its owner''s rights and the caller''s search_path', substr(f.object, 10)) as detail,
    jsonb_build_object('schema', f.schema_name, 'name', f.name) as metadata
from own_functions as f
where f.prosecdef
    and not exists (select from unnest(f.proconfig) as s (setting) where starts_with(s.setting, 'search_path='))
