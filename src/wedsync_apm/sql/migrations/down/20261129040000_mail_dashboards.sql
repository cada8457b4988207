drop function apm_private.leave_dashboard_mail(uuid);
drop function apm_private.look_up_dashboard_mail(uuid);
drop table apm_private.mail_papers;
drop table public.apm_dashboard_mails;
drop function apm_private.end_dashboard_mail();
drop function apm_private.check_dashboard_mail();
