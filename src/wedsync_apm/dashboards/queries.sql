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
    v.template_key, coalesce(v.is_default, false)
from jsonb_populate_record(null::public.apm_dashboards, %(values)s::jsonb) as v
returning *

-- list_names --
-- An organization's dashboards by name, without their panels.
select d.id, d.name, d.description, d.template_key, d.is_default, d.updated_at, d.changed_by,
    case jsonb_typeof(d.layout -> 'panels') when 'array' then jsonb_array_length(d.layout -> 'panels') else 0 end as panels
from public.apm_dashboards as d
where d.organization_id = %(organization_id)s::uuid
order by d.is_default desc, d.name
limit %(limit)s::int

-- find_named --
-- The dashboard of that name, kept still while it is replaced.
select d.*
from public.apm_dashboards as d
where d.organization_id = %(organization_id)s::uuid and d.name = %(name)s::text
for update

-- update_dashboard --
-- Changes the named values and no others; with a version only if that is the one that stands.
update public.apm_dashboards as t
set (
    name, description, layout, variables, template_key, is_default
) = (
    select
        v.name, v.description, v.layout, v.variables, v.template_key, v.is_default
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid and t.version = coalesce((%(values)s::jsonb ->> 'version')::int, t.version)
returning t.*

-- delete_dashboard --
-- Gone, with what hangs on it.
delete from public.apm_dashboards
where id = %(id)s::uuid

-- list_tag_values --
-- What a tag's variable can stand for: the values that an organization's series have.
select w.tag, v.value
from unnest(%(tags)s::text[]) as w (tag)
cross join lateral (
    select distinct s.tags ->> w.tag as value
    from public.apm_series as s
    where s.organization_id = %(organization_id)s::uuid and s.tags ? w.tag
    order by 1
    limit %(limit)s::int
) as v
order by w.tag, v.value

-- read_setting --
-- The moment by the database's clock, whether a wedding is under way, and the organization's time zone.
select clock_timestamp() as at,
    exists (select from public.wedding_window_at(%(organization_id)s::uuid, clock_timestamp())) as is_wedding,
    (
        select m.time_zone from public.apm_my_organizations() as m where m.organization_id = %(organization_id)s::uuid
    ) as time_zone
