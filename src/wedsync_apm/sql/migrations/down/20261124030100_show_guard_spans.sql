drop function public.apm_guard_spans(timestamptz, timestamptz);
