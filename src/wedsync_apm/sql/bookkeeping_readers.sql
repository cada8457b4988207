-- Lets the processes see whether the schema is current. The roles come with the first migration, so this runs after it;
-- harmless to repeat.
grant select on apm_private.migrations to apm_api, apm_engine;
drop policy if exists migrations_services_select on apm_private.migrations;
create policy migrations_services_select on apm_private.migrations
for select to apm_api, apm_engine using (true);

-- What the schema should look like, so that the health report, too, can say whether it does.
grant select on apm_private.schema_fingerprints to apm_api, apm_engine;
drop policy if exists schema_fingerprints_services_select on apm_private.schema_fingerprints;
create policy schema_fingerprints_services_select on apm_private.schema_fingerprints
for select to apm_api, apm_engine using (true);
