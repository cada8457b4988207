drop function apm_private.read_activity();
