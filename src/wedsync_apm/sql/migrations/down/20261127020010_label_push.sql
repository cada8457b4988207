delete from public.apm_deliveries where channel = 'push';
delete from public.apm_contact_methods where channel = 'push';
update public.apm_alerts set notification_channels = array_remove(notification_channels, 'push')
where 'push' = any (notification_channels);
update public.apm_notification_rules set channels = array_remove(channels, 'push') where 'push' = any (channels);
call apm_private.drop_enum_label('notification_channel', 'push');
