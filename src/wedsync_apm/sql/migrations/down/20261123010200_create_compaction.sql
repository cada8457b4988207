drop function apm_private.settle_blocks(interval);
drop table apm_private.compaction_work;
drop table apm_private.compaction_mark;
delete from apm_private.cursors where name = 'compact';
