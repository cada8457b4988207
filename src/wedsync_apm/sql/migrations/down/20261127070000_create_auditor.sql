drop table apm_private.auditor_findings;
