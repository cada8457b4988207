-- pre: APM extended: Apprise is a channel; the label has a migration of its own, before the first that uses it.

alter type public.notification_channel add value if not exists 'apprise' after 'push';
