-- Annotations as they come in and as members read them.

-- note_annotations [apm_api] --
-- Keeps what came in, each once; gives the organizations that exist.
select n.organization_id
from apm_private.note_annotations(%(source)s::text, %(entries)s::jsonb, %(kept_days)s::int) as n

-- list_annotations --
-- What happened in the organizations in a range of time, the latest first.
select id, organization_id, occurred_at, title, text, alert_type, priority, host, aggregation_key, tags, source
from public.apm_annotations
where organization_id = any (%(organization_ids)s::uuid[])
    and occurred_at >= coalesce(%(start)s::timestamptz, '-infinity')
    and occurred_at < coalesce(%(end)s::timestamptz, 'infinity')
    and (%(before_at)s::timestamptz is null or (occurred_at, id) < (%(before_at)s, %(before_id)s::uuid))
order by occurred_at desc, id desc
limit %(limit)s::int
