do $$
begin
    execute format('revoke select (%s) on public.apm_deliveries from authenticated', (
        select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
        from pg_attribute as a
        where a.attrelid = 'public.apm_deliveries'::regclass and a.attnum > 0 and not a.attisdropped
    ));
end
$$;
grant select on public.apm_deliveries to authenticated;
