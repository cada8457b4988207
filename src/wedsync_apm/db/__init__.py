"""The only way to the database: pools, tenants, queries, migrations, the embedded server."""
