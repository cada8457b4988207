-- What the migration runner writes down. Run before every `migrate`; changes nothing that is there.
create schema if not exists apm_private;
revoke all on schema apm_private from public;

do $$
begin
    if to_regclass('apm_private.migrations') is null then
        create table apm_private.migrations (
            version text primary key check (version ~ '^[0-9]{14}$'),
            name text not null,
            -- sha256 of the file: an applied file never changes
            checksum text not null,
            applied_at timestamptz not null default clock_timestamp(),
            execution_ms int not null
        );
        alter table apm_private.migrations enable row level security;
        alter table apm_private.migrations force row level security;
        revoke all on apm_private.migrations from public;
        create policy migrations_owner_all on apm_private.migrations
        for all to current_user using (true) with check (true);
    end if;

    if to_regclass('apm_private.schema_fingerprints') is null then
        create table apm_private.schema_fingerprints (
            object text primary key,
            definition text not null,
            recorded_at timestamptz not null default clock_timestamp()
        );
        alter table apm_private.schema_fingerprints enable row level security;
        alter table apm_private.schema_fingerprints force row level security;
        revoke all on apm_private.schema_fingerprints from public;
        create policy schema_fingerprints_owner_all on apm_private.schema_fingerprints
        for all to current_user using (true) with check (true);
    end if;
end
$$;
