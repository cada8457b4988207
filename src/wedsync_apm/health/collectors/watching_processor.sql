-- read_watching_processor_from_15 [apm_engine] --
-- What this watching itself costs: how long the statements of its last rounds took, by their rhythm, of one processor.
select
    'the collectors' as subject,
    round((100 * sum(l.duration_ms / 1000 / l.every_seconds))::numeric, 3)::float8 as figure,
    count(*) as lines,
    round(sum(l.duration_ms)::numeric, 1)::float8 as all_once_ms
from apm_private.health_lines as l
having count(*) > 0
