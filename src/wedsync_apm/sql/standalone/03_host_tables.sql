-- The host platform's tables, in the columns that this product reads. Made only where the host brings none;
-- the comment on each marks it as ours, so that the policies are added to ours and never to a host's own.
do $$
begin
    if to_regclass('public.organizations') is null then
        create table public.organizations (
            id uuid primary key default gen_random_uuid(),
            name text not null check (length(name) between 1 and 255),
            slug text unique,
            -- {"timezone": "Europe/London", "vendor_type": "florist"}
            settings jsonb not null default '{}' check (jsonb_typeof(settings) = 'object'),
            created_at timestamptz not null default now(),
            updated_at timestamptz not null default now()
        );
        comment on table public.organizations is 'made by wedsync-apm: standalone host table';
        alter table public.organizations enable row level security;
        alter table public.organizations force row level security;
        revoke all on public.organizations from public, anon, authenticated, service_role;
    end if;

    if to_regclass('public.user_profiles') is null then
        create table public.user_profiles (
            id uuid primary key default gen_random_uuid(),
            user_id uuid not null unique,
            organization_id uuid references public.organizations (id) on delete set null,
            role text not null default 'MEMBER' check (role in ('OWNER', 'ADMIN', 'MEMBER', 'VIEWER')),
            first_name text,
            last_name text,
            phone text,
            timezone text not null default 'UTC',
            created_at timestamptz not null default now(),
            updated_at timestamptz not null default now()
        );
        comment on table public.user_profiles is 'made by wedsync-apm: standalone host table';
        create index idx_user_profiles_organization on public.user_profiles (organization_id);
        alter table public.user_profiles enable row level security;
        alter table public.user_profiles force row level security;
        revoke all on public.user_profiles from public, anon, authenticated, service_role;
    end if;

    if to_regclass('public.clients') is null then
        create table public.clients (
            id uuid primary key default gen_random_uuid(),
            organization_id uuid references public.organizations (id) on delete cascade,
            first_name text,
            last_name text,
            partner_first_name text,
            partner_last_name text,
            email text,
            phone text,
            wedding_date date,
            venue_name text,
            -- lead, booked, completed, archived
            status text default 'lead',
            created_at timestamptz not null default now(),
            updated_at timestamptz not null default now()
        );
        comment on table public.clients is 'made by wedsync-apm: standalone host table';
        create index idx_clients_organization_wedding_date on public.clients (organization_id, wedding_date);
        alter table public.clients enable row level security;
        alter table public.clients force row level security;
        revoke all on public.clients from public, anon, authenticated, service_role;
    end if;
end
$$;
