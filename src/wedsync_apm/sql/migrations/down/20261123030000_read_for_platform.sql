-- pre: takes back the platform keys that read; such keys are revoked by being deleted.

drop function public.apm_note_platform_read(text);
drop function public.apm_platform_blocks(uuid[], timestamptz, timestamptz);
drop function public.apm_platform_series(uuid[], text[]);
drop function apm_private.is_platform_reader();
delete from public.apm_api_keys where is_platform and scope = 'read';
alter table public.apm_api_keys drop constraint apm_api_keys_platform_scopes;
alter table public.apm_api_keys add constraint apm_api_keys_platform_ingests check (
    is_platform = (organization_id is null) and (not is_platform or scope = 'ingest')
);
