-- Lets the processes see whether the schema is current. The roles come with the first migration, so this runs after it.
grant select on apm_private.migrations to apm_api, apm_engine;
create policy migrations_services_select on apm_private.migrations
for select to apm_api, apm_engine using (true);

-- What the schema should look like, so that the health report, too, can say whether it does.
grant select on apm_private.schema_fingerprints to apm_api;
create policy schema_fingerprints_services_select on apm_private.schema_fingerprints
for select to apm_api using (true);
