-- pre: the writer's login is held to Row Level Security like everybody else.

-- Only COPY could not do without; a flush is an ordinary statement, whose policies allow what it does and no more.
do $$
begin
    if (select rolbypassrls from pg_catalog.pg_roles where rolname = 'apm_writer') then
        alter role apm_writer nobypassrls;
    end if;
exception when insufficient_privilege then
    raise notice 'apm_writer still bypasses Row Level Security: a superuser may run "alter role apm_writer nobypassrls"';
end
$$;
