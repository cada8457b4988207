drop table public.apm_inhibition_rules;
drop function apm_private.choose_what_weddings_are_told();
