-- read_checksums_from_15 [apm_engine] --
-- Damaged pages that were found while they were read.
select d.datname::text as subject, coalesce(d.checksum_failures, 0)::float8 as figure, d.checksum_last_failure as last_at
from pg_stat_database as d
where d.datname = current_database()
