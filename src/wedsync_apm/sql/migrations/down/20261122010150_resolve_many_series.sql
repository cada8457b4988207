drop function apm_private.resolve_many_series(uuid[], text[], text[], text[], text[], jsonb[], int);
