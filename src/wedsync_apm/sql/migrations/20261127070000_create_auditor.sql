-- pre: what should happen to an incident or a message and does not is found by somebody who looks at nothing else.

create table apm_private.auditor_findings (
    kind text not null check (kind in ('nobody_due', 'overdue_step', 'waiting_message', 'lost_sender', 'failing_job')),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    -- an incident, a message, or the name of a job
    subject text not null,
    detail text not null,
    found_at timestamptz not null,
    seen_at timestamptz not null,
    primary key (kind, organization_id, subject)
);
call apm_private.protect_table('apm_private.auditor_findings');
-- the cascade when an organization goes
create index idx_apm_auditor_findings_organization on apm_private.auditor_findings (organization_id);
