do $$
begin
    alter role apm_writer bypassrls;
exception when insufficient_privilege then
    raise notice 'apm_writer stays bound by Row Level Security, under which it works as well';
end
$$;
