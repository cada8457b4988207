drop function public.apm_delivery_texts(uuid[]);
