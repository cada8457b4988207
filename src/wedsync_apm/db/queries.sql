-- enter_tenant [apm_api] --
-- Makes the rest of the transaction run as the caller; both settings end with the transaction.
select
    set_config('request.jwt.claims', %(claims)s::text, true),
    set_config('role', %(role)s::text, true)

-- find_database [owner] --
-- Whether the embedded server has our database already.
select datname
from pg_database
where datname = %(name)s::text
