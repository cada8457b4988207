-- read_right_to_look_from_15 [apm_engine] --
-- Whether the engine may see the sessions and statements of others.
select current_user::text as subject, pg_has_role(current_user, 'pg_monitor', 'usage')::int::float8 as figure
