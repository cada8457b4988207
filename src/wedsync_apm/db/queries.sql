-- enter_tenant [apm_api] --
-- Makes the rest of the transaction run as the caller; both settings end with the transaction.
select
    set_config('request.jwt.claims', %(claims)s::text, true),
    set_config('role', %(role)s::text, true)
