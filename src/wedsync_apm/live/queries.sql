-- What a serving process asks for its live connections, as its own login.

-- find_standings [apm_api] --
-- Which organizations each of many listeners may hear now, by what the database would let each of them see.
select s.subject, s.kind, s.organization_ids, s.operator_role, s.token_generation, s.expires_at
from apm_private.live_standings(%(subjects)s::uuid[], %(kinds)s::text[]) as s

-- count_refusals [apm_api] --
-- Adds to the counts of what was not taken that organizations see.
select apm_private.count_refusals(
    %(organization_ids)s::uuid[], %(sources)s::text[], %(reasons)s::text[], %(counts)s::bigint[], %(examples)s::text[]
)
