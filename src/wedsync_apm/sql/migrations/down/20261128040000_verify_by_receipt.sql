drop function apm_private.verify_by_receipt(uuid, timestamptz);
