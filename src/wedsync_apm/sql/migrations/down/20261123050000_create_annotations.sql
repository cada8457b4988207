drop function apm_private.note_annotations(text, jsonb, int);
drop table public.apm_annotations;
