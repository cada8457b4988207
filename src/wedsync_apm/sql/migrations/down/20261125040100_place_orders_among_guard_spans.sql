-- The weekly spans that touch the range: 'freeze', 'enhanced', 'maximum'. No secret of anybody's.
create or replace function public.apm_guard_spans(earliest timestamptz, latest timestamptz)
returns table (kind text, span tstzrange)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select g.kind, g.span from apm_private.guard_spans(apm_guard_spans.earliest, apm_guard_spans.latest) as g
$$;
