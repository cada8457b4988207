-- unless: exists (select from pg_extension where extname = 'pg_stat_statements')
-- Statement statistics, where Supabase keeps its extensions. Without the right to install it, or without
-- its files, the product works on and says in the health report that these figures are missing.
do $$
begin
    create schema if not exists extensions;
    grant usage on schema extensions to public;
    create extension pg_stat_statements with schema extensions;
exception when insufficient_privilege or undefined_file or feature_not_supported then
    raise notice 'pg_stat_statements was not installed: %', sqlerrm;
end
$$;
