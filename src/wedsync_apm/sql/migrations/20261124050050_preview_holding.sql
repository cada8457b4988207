-- pre: what matchers mean right now, and which weddings are in the way, told before anything is saved.

-- The live incidents that matchers match, and the active rules that they may match: of a rule only its name, its severity
-- and, where its pattern has no wildcards, its service and metric are known before it alarms. `is_whole` is false where
-- the matchers ask for more than that. Nothing for an organization that is not the caller's.
create function public.apm_matched_now(organization_id uuid, matchers jsonb)
returns table (kind text, id uuid, title text, is_whole boolean)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    fault text := apm_private.fault_of_matchers(apm_matched_now.matchers, 0);
begin
    if fault is not null then
        raise exception '%', fault using errcode = 'check_violation', constraint = 'matchers', table = 'apm_silences';
    end if;
    if not apm_private.is_service() and apm_matched_now.organization_id <> all (public.apm_current_organization_ids()) then
        return;
    end if;
    return query
    select 'incident', i.id, i.title, true
    from public.apm_incidents as i
    where i.organization_id = apm_matched_now.organization_id and i.status in ('open', 'acknowledged', 'investigating')
        and not exists (
            select from apm_private.incident_label_sets(i.organization_id, i.id) as l
            where not apm_private.do_matchers_match(apm_matched_now.matchers, l.labels)
        )
    order by i.detected_at desc
    limit 100;
    return query
    select 'rule', r.id, r.alert_name, m.asked = m.known
    from public.apm_alerts as r
    cross join lateral (
        select jsonb_build_object('rule', r.alert_name, 'severity', r.severity)
            || case when r.metric_pattern !~ '[][*?{}]' then jsonb_build_object(
                'service', split_part(r.metric_pattern, '.', 1),
                'metric', substr(r.metric_pattern, strpos(r.metric_pattern, '.') + 1)
            ) else '{}' end as labels
    ) as k
    cross join lateral (
        select count(*) as asked, count(*) filter (where k.labels ? (one ->> 'label')) as known,
            coalesce(jsonb_agg(one) filter (where k.labels ? (one ->> 'label')), '[]') as matchers
        from jsonb_array_elements(apm_matched_now.matchers) as one
    ) as m
    where r.organization_id = apm_matched_now.organization_id and r.is_active
        -- by nothing that is known of it: that would be every rule
        and (m.known > 0 or m.asked = 0)
        and apm_private.do_matchers_match(m.matchers, k.labels)
    order by r.alert_name
    limit 100;
end
$$;
call apm_private.hand_over('public.apm_matched_now(uuid, jsonb)');

-- The weddings whose windows touch a time; of the caller's own organizations.
create function public.apm_weddings_in_the_way(organization_id uuid, earliest timestamptz, latest timestamptz)
returns table (wedding_id uuid, wedding_date date, initials text, starts_at timestamptz, ends_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.wedding_id, w.wedding_date, coalesce(w.initials, ''), w.starts_at, w.ends_at
    from apm_private.weddings_in_the_way(
        apm_weddings_in_the_way.organization_id, apm_weddings_in_the_way.earliest,
        least(apm_weddings_in_the_way.latest, apm_weddings_in_the_way.earliest + interval '90 days')
    ) as w
    where apm_private.is_service()
        or apm_weddings_in_the_way.organization_id = any (public.apm_current_organization_ids())
$$;
call apm_private.hand_over('public.apm_weddings_in_the_way(uuid, timestamptz, timestamptz)');

-- When planned work that is not saved yet would be open next, and the weddings that it would meet.
create function public.apm_preview_maintenance(
    organization_id uuid, planned jsonb, at timestamptz default now(), most int default 5
) returns table (spans jsonb, weddings jsonb)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    maintenance public.apm_maintenance_windows%rowtype;
begin
    if not apm_private.is_service() and apm_preview_maintenance.organization_id <> all (public.apm_current_organization_ids()) then
        return;
    end if;
    maintenance := jsonb_populate_record(
        null::public.apm_maintenance_windows,
        '{"every_weeks": 1}' || apm_preview_maintenance.planned
            || jsonb_build_object('organization_id', apm_preview_maintenance.organization_id, 'approved_weddings', '{}'::uuid[])
    );
    if maintenance.time_zone is not null and not apm_private.is_time_zone(maintenance.time_zone) then
        raise exception 'is no time zone'
            using errcode = 'check_violation', constraint = 'time_zone', table = 'apm_maintenance_windows';
    end if;
    return query
    select (
            select coalesce(jsonb_agg(jsonb_build_object('starts_at', lower(n.span), 'ends_at', upper(n.span)) order by n.span), '[]')
            from (
                select o.span
                from (
                    select greatest(apm_preview_maintenance.at, maintenance.first_day::timestamptz, maintenance.starts_at) as begins
                ) as b
                cross join lateral apm_private.maintenance_spans(
                    maintenance, b.begins, b.begins + maintenance.every_weeks * interval '36 days'
                ) as o
                where upper(o.span) > apm_preview_maintenance.at
                order by o.span
                limit least(apm_preview_maintenance.most, 50)
            ) as n
        ),
        (
            select coalesce(jsonb_agg(to_jsonb(w) order by w.starts_at), '[]')
            from apm_private.weddings_of_maintenance(maintenance, apm_preview_maintenance.at) as w
        );
end
$$;
call apm_private.hand_over('public.apm_preview_maintenance(uuid, jsonb, timestamptz, int)');
grant execute on function public.apm_matched_now(uuid, jsonb),
    public.apm_weddings_in_the_way(uuid, timestamptz, timestamptz),
    public.apm_preview_maintenance(uuid, jsonb, timestamptz, int) to authenticated;
