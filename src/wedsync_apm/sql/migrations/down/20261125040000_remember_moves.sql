drop table public.apm_wedding_import_runs;
drop trigger apm_weddings_moved on public.apm_weddings;
drop function apm_private.remember_move();
alter table public.apm_weddings drop column moved_from;
