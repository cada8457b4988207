-- Receipts and answers. Nobody is signed in: each came with a signature that fits.

-- record_receipt [apm_api] --
-- What a provider says of one message; recorded, known, late or unknown.
select apm_private.record_receipt(
    %(delivery_id)s::uuid, %(receipt)s::text, %(provider_id)s::text, %(provider_status)s::text, clock_timestamp()
) as came

-- stop_contact_of [apm_api] --
-- Nothing more goes to the contact of a message that can never arrive.
select apm_private.stop_contact_of(%(delivery_id)s::uuid, %(reason)s::text, clock_timestamp())

-- acknowledge_from_channel [apm_api] --
-- Takes the incident in hand for a person who answered on a channel.
select apm_private.acknowledge_from_channel(
    %(incident_id)s::uuid, %(generation)s::int, %(receiver)s::text, %(channel)s::text, %(source_event_id)s::text,
    clock_timestamp()
) as outcome

-- hear_number [apm_api] --
-- Whether anybody is reached at a number, and whether this text of his is heard for the first time.
select h.is_known, h.is_new
from apm_private.hear_number(%(phone)s::text, %(source_event_id)s::text, clock_timestamp()) as h

-- list_calls_of_number [apm_api] --
-- What the owner of a number was called for and nobody has in hand, the latest first.
select c.incident_id, c.number, c.generation, c.title, c.vendor_text, c.receiver
from apm_private.list_calls_of_number(%(phone)s::text, clock_timestamp()) as c

-- stop_number [apm_api] --
-- No more texts to a number; to how many contacts that applied.
select apm_private.stop_number(%(phone)s::text, %(reason)s::text, clock_timestamp()) as count

-- start_number [apm_api] --
-- Texts again; to how many contacts that applied.
select apm_private.start_number(%(phone)s::text, %(reason)s::text) as count

-- read_call [apm_api] --
-- What a message says and whether it is still needed.
select c.incident_id, c.generation, c.kind, c.channel, c.body, c.receiver, c.status, c.incident_generation,
    c.acknowledged_by_name
from apm_private.read_call(%(delivery_id)s::uuid) as c

-- verify_by_receipt [apm_api] --
-- Whether the receipt of a push message verified the contact that its code was for.
select apm_private.verify_by_receipt(%(delivery_id)s::uuid, clock_timestamp()) as is_verified
