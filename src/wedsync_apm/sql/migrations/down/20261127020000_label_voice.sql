delete from public.apm_deliveries where channel = 'voice';
delete from public.apm_contact_methods where channel = 'voice';
update public.apm_alerts set notification_channels = array_remove(notification_channels, 'voice')
where 'voice' = any (notification_channels);
update public.apm_notification_rules set channels = array_remove(channels, 'voice') where 'voice' = any (channels);
call apm_private.drop_enum_label('notification_channel', 'voice');
drop procedure apm_private.drop_enum_label(text, text);
