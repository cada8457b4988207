drop trigger apm_incidents_tell_the_end on public.apm_incidents;
drop function apm_private.tell_the_end();
