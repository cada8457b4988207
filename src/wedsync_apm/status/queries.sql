-- show_status_page [apm_api] --
-- All that a public page shows, for whoever knows its address; null for any other address.
select apm_private.show_status_page(%(slug)s::text, clock_timestamp()) as content

-- ask_for_status_mail [apm_api] --
-- Somebody wants mail of a page: asked, wait or unknown.
select apm_private.ask_for_status_mail(%(slug)s::text, %(address)s::text, %(caller_hash)s::bytea, clock_timestamp()) as outcome

-- look_up_status_link [apm_api] --
-- What a link of a mail is about; it changes nothing.
select l.title, l.slug, l.is_public, l.is_confirmed
from apm_private.look_up_status_link(%(token_hash)s::bytea, %(purpose)s::text, clock_timestamp()) as l

-- use_status_link [apm_api] --
-- Confirms or ends the subscription of a link.
select apm_private.use_status_link(%(token_hash)s::bytea, %(purpose)s::text, clock_timestamp()) as is_done

-- follow_status_pages [apm_engine] --
-- Follows what public pages show, and puts the news of it in line.
select apm_private.follow_status_pages(%(at)s::timestamptz) as told

-- forget_status_asks [apm_engine] --
-- Addresses that nobody confirmed, and what is too old.
select apm_private.forget_status_asks(%(at)s::timestamptz)

-- store_status_link [apm_engine] --
-- Keeps the hash of a link that is about to be sent.
insert into apm_private.status_links (token_hash, organization_id, subscriber_id, purpose, expires_at)
values (
    %(token_hash)s::bytea, %(organization_id)s::uuid, %(subscriber_id)s::uuid, %(purpose)s::text,
    %(expires_at)s::timestamptz
)
on conflict (token_hash) do nothing
