drop trigger apm_configurations_emergency on public.apm_configurations;
drop function apm_private.check_emergency_override();
