drop function public.apm_client_weddings(uuid[], date, date);
