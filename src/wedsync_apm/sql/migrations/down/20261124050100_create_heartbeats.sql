drop function apm_private.miss_heartbeats(timestamptz, int);
drop function apm_private.note_heartbeat(uuid, uuid, text, text, timestamptz, timestamptz);
drop function apm_private.open_heartbeat_incident(public.apm_heartbeats, text, timestamptz);
drop function apm_private.take_heartbeat(bytea);
drop function public.apm_set_heartbeat_token(uuid, bytea);
drop table apm_private.heartbeat_tokens;
drop table public.apm_heartbeats;
drop function apm_private.rewind_heartbeat();
drop function apm_private.remember_ping();
