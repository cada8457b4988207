-- A host's own tables as they may be: other types, more columns, an enum, policies, a trigger.
create type public.client_status as enum ('lead', 'booked', 'completed', 'archived');
create type public.member_role as enum ('OWNER', 'ADMIN', 'MEMBER', 'VIEWER', 'ACCOUNTANT');

create table public.organizations (
    id uuid primary key default gen_random_uuid(),
    name varchar(255) not null,
    timezone text default 'Europe/Lisbon',
    plan text not null default 'free',
    created_at timestamp default now()
);
create table public.user_profiles (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null unique,
    organization_id uuid references public.organizations (id),
    role public.member_role not null default 'MEMBER',
    avatar text
);
create table public.clients (
    id uuid primary key default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id),
    wedding_date date,
    status public.client_status not null default 'lead',
    deleted_at timestamptz,
    budget numeric
);
create table public.guests (id uuid primary key, client_id uuid not null references public.clients (id));
comment on table public.clients is 'the host''s own';

alter table public.organizations enable row level security;
alter table public.user_profiles enable row level security;
alter table public.clients enable row level security;
create policy own_profile on public.user_profiles for select to authenticated using (user_id = auth.uid());
create policy own_clients on public.clients for all to authenticated
using (organization_id in (select p.organization_id from public.user_profiles as p where p.user_id = auth.uid()));
grant select on public.user_profiles, public.clients to authenticated;
