drop trigger apm_deliveries_status_bounce on public.apm_deliveries;
drop index public.idx_apm_deliveries_subscriber;
alter table public.apm_deliveries
    drop constraint apm_deliveries_subscriber_fkey,
    drop column status_subscriber_id;
drop function public.apm_preview_status_page(uuid, timestamptz);
drop function public.apm_count_status_subscribers(uuid);
drop function apm_private.use_status_link(bytea, text, timestamptz);
drop function apm_private.look_up_status_link(bytea, text, timestamptz);
drop function apm_private.ask_for_status_mail(text, text, bytea, timestamptz);
drop function apm_private.show_status_page(text, timestamptz);
drop function apm_private.status_content(uuid, timestamptz);
drop function apm_private.forget_status_asks(timestamptz);
drop function apm_private.follow_status_pages(timestamptz);
drop function apm_private.status_services(timestamptz);
drop function apm_private.tell_subscribers(uuid, text, jsonb, timestamptz);
drop table apm_private.status_asks;
drop table apm_private.status_links;
drop table public.apm_status_problems;
drop table public.apm_status_subscribers;
drop table public.apm_status_notes;
drop table public.apm_status_pages;
drop function apm_private.hear_status_bounce();
drop function apm_private.end_status_subscription();
drop function apm_private.check_status_page();
drop function apm_private.close_status_page();
