-- pre: takes the function back.

drop function public.apm_columns_between(uuid, timestamptz, timestamptz, int4[], bigint);
