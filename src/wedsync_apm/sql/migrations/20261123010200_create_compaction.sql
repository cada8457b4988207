-- pre: what compaction has to do, and up to which block it may.

-- Up to which block everything is committed or will never be, and the next mark that waits to be so.
create table apm_private.compaction_mark (
    is_only boolean primary key default true check (is_only),
    settled_id bigint not null,
    pending_id bigint not null,
    pending_xid xid8 not null,
    pending_at timestamptz not null
);
call apm_private.protect_table('apm_private.compaction_mark');

-- Organizations and days with write batches that no run has taken in yet.
create table apm_private.compaction_work (
    organization_id uuid not null,
    day date not null,
    noted_at timestamptz not null,
    block_count bigint not null,
    primary key (organization_id, day)
);
call apm_private.protect_table('apm_private.compaction_work');

-- The highest block id up to which no block can still come: of those that were drawn `older_than` ago. A mark is an
-- id and a transaction that began after it was drawn: whoever drew that id or a lower one began before, since a block
-- draws its id inside a transaction that has its number. When all up to the mark's are over, its id is settled.
create function apm_private.settle_blocks(older_than interval) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    mark apm_private.compaction_mark;
    drawn bigint;
    own xid8;
    seen_at timestamptz := clock_timestamp();
begin
    if pg_current_xact_id_if_assigned() is not null then
        raise exception 'settle_blocks comes first in its transaction' using errcode = 'object_not_in_prerequisite_state';
    end if;
    drawn := coalesce(pg_sequence_last_value('apm_private.block_ids'), 0);
    own := pg_current_xact_id();
    insert into apm_private.compaction_mark (settled_id, pending_id, pending_xid, pending_at)
    values (0, drawn, own, seen_at)
    on conflict (is_only) do nothing;
    select * into mark from apm_private.compaction_mark for update;
    if mark.pending_xid >= pg_snapshot_xmax(pg_current_snapshot()) then
        -- from before a restore: its transaction is yet to come
        update apm_private.compaction_mark
        set settled_id = 0, pending_id = drawn, pending_xid = own, pending_at = seen_at;
        return 0;
    end if;
    if mark.pending_at <= seen_at - settle_blocks.older_than
        and pg_snapshot_xmin(pg_current_snapshot()) > mark.pending_xid then
        update apm_private.compaction_mark
        set settled_id = mark.pending_id, pending_id = drawn, pending_xid = own, pending_at = seen_at;
        return mark.pending_id;
    end if;
    return mark.settled_id;
end
$$;
revoke all on function apm_private.settle_blocks(interval) from public, anon, authenticated, service_role;
grant execute on function apm_private.settle_blocks(interval) to apm_engine;

