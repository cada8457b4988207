drop function apm_private.settle_restore(text, timestamptz, timestamptz);
drop function public.apm_next_wedding_at(timestamptz);
drop function apm_private.next_wedding_at(timestamptz);
drop function public.apm_list_backup_archives();
drop function public.apm_list_backups();
drop function public.apm_backup_facts(timestamptz);
drop function apm_private.backup_facts(timestamptz);
drop table apm_private.restores, apm_private.backup_archives, apm_private.backups;
