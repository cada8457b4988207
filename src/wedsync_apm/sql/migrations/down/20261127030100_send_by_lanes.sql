drop function apm_private.claim_deliveries(timestamptz, text, float8, int, int, int, int);
drop trigger apm_deliveries_unbundle on public.apm_deliveries;
drop function apm_private.unbundle_deliveries();
drop function apm_private.take_token(uuid, uuid, text, boolean, timestamptz);
drop table apm_private.throttle_limits;
drop table apm_private.throttle_buckets;
drop table apm_private.provider_holds;
drop trigger apm_deliveries_prepare on public.apm_deliveries;
drop function apm_private.prepare_delivery();
drop index public.idx_apm_deliveries_lanes;
delete from public.apm_deliveries where state = 'bundled' or kind in ('group', 'report', 'drill');
alter table public.apm_deliveries
    drop column provider, drop column stage, drop column throttled_at, drop column bundled_into, drop column fail_over_at,
    drop column stands_in_for;
alter table public.apm_deliveries drop constraint apm_deliveries_state_check;
alter table public.apm_deliveries add constraint apm_deliveries_state_check check (state in (
    'pending', 'leased', 'sending', 'sent', 'delivered', 'unknown', 'retry', 'failed', 'suppressed', 'cancelled',
    'expired', 'inbox'
));
alter table public.apm_deliveries drop constraint apm_deliveries_kind_check;
alter table public.apm_deliveries add constraint apm_deliveries_kind_check check (
    kind in ('page', 'update', 'resolved', 'reopened', 'test', 'verify')
);
