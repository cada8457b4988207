-- pre: APM extended: a webhook's key changes while the one before is still good, and its receiver stays verified.

-- A fresh secret for the same receiver, for somebody who may decide about the contact. What is sealed is made by us alone,
-- so that nobody can name another receiver this way.
create function public.apm_rotate_contact_secret(
    contact_method_id uuid, secret_ciphertext bytea, secret_fingerprint text
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    contact public.apm_contact_methods%rowtype := apm_private.lock_contact(apm_rotate_contact_secret.contact_method_id);
begin
    if contact.channel <> 'webhook' then
        raise exception 'Only a webhook has a key of ours.' using errcode = 'AP409', constraint = 'apm_contact_methods_key';
    end if;
    update public.apm_contact_methods as c set
        secret_ciphertext = apm_rotate_contact_secret.secret_ciphertext,
        secret_fingerprint = left(apm_rotate_contact_secret.secret_fingerprint, 100)
    where c.organization_id = contact.organization_id and c.id = contact.id;
    -- another secret is another receiver everywhere else, and unverified
    update public.apm_contact_methods as c set verified_at = contact.verified_at
    where c.organization_id = contact.organization_id and c.id = contact.id;
end
$$;
call apm_private.hand_over('public.apm_rotate_contact_secret(uuid, bytea, text)');
grant execute on function public.apm_rotate_contact_secret(uuid, bytea, text) to authenticated;
