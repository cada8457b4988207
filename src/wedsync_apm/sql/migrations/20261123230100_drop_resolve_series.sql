-- post: find_or_make_series stands in for both; the version before this one still calls them.
drop function apm_private.resolve_many_series(uuid[], text[], text[], text[], text[], jsonb[], int);
drop function apm_private.resolve_series(uuid, text[], text[], text[], text[], jsonb[], int);
