drop type apm_private.rollup_row;
