-- read_sequences_from_15 [apm_engine] --
-- How much of its numbers each sequence of ours has given out.
select
    s.schemaname || '.' || s.sequencename as subject,
    case when has_sequence_privilege(format('%I.%I', s.schemaname, s.sequencename), 'SELECT')
        then round(100.0 * coalesce(s.last_value, 0) / s.max_value, 3) end::float8 as figure,
    'the engine may not read it' as why,
    s.last_value,
    s.max_value
from pg_sequences as s
where s.schemaname = 'apm_private' or (s.schemaname = 'public' and starts_with(s.sequencename, 'apm_'))
order by figure desc nulls last
