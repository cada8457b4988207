-- Dashboards as members see and change them.

-- list_dashboards --
-- The organizations' dashboards, newest first.
select *
from public.apm_dashboards
where organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
order by created_at desc, id desc
limit %(limit)s::int

-- find_dashboard --
-- A dashboard that the caller can see.
select *
from public.apm_dashboards
where id = %(id)s::uuid

-- create_dashboard --
-- A new dashboard.
insert into public.apm_dashboards (
    organization_id, created_by, name, description, layout, variables, template_key, is_default
)
select
    %(organization_id)s::uuid, %(created_by)s::uuid, v.name, v.description, v.layout, v.variables,
    v.template_key, v.is_default
from jsonb_populate_record(null::public.apm_dashboards, %(values)s::jsonb) as v
returning *

-- update_dashboard --
-- Changes the named values and no others.
update public.apm_dashboards as t
set (
    name, description, layout, variables, template_key, is_default
) = (
    select
        v.name, v.description, v.layout, v.variables, v.template_key, v.is_default
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.*

-- delete_dashboard --
-- Gone, with what hangs on it.
delete from public.apm_dashboards
where id = %(id)s::uuid
