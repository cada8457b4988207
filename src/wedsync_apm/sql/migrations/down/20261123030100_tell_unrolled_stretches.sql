-- pre: takes the function back.

drop function public.apm_unrolled_between(uuid, interval, timestamptz, timestamptz);
