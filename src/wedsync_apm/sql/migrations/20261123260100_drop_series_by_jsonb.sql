-- post: series are made by fingerprint; the version before this one still calls these.
drop function apm_private.find_or_make_series(uuid[], text[], text[], text[], text[], jsonb[], int, int, int);
drop function apm_private.find_series(uuid[], bytea[], text[]);
drop function apm_private.count_active_series(uuid[]);
