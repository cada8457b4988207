-- pre: a one-tap link is its receiver's secret, also for colleagues who read the table.

-- The words of messages as whoever asks may see them: without the secret parts of links, unless they went to oneself. What
-- lies in the inbox went to nobody, and stays of use there.
create function public.apm_delivery_texts(delivery_ids uuid[])
returns table (delivery_id uuid, body text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select d.id, case
        when me.is_service or d.state = 'inbox' or d.contact_method_id = any (me.owns) then d.body
        else regexp_replace(d.body, '(/(?:ack|drill|webhooks/push)/)[A-Za-z0-9_.~%-]+', '\1(masked)', 'g')
    end
    from (
        select apm_private.is_service() as is_service, public.apm_organization_ids_as('MEMBER') as belongs,
            coalesce(public.apm_operator_role() in ('oncall', 'dba'), false) as is_operator,
            public.apm_own_contact_ids() as owns
        offset 0
    ) as me
    join public.apm_deliveries as d
        on d.id = any (apm_delivery_texts.delivery_ids)
            and (me.is_service or me.is_operator or d.organization_id = any (me.belongs))
$$;
call apm_private.hand_over('public.apm_delivery_texts(uuid[])');
grant execute on function public.apm_delivery_texts(uuid[]) to authenticated, service_role;
