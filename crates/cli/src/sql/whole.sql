-- All of it or nothing: where each statement is in a savepoint of its own, an error would leave out what it is in, checks
-- among it, and the rest would be committed.
DO $body$
BEGIN
    CREATE TEMPORARY TABLE kcopy_whole () ON COMMIT DROP;
    IF (SELECT xmin FROM pg_catalog.pg_class WHERE oid = 'pg_temp.kcopy_whole'::pg_catalog.regclass)
       <> pg_catalog.pg_current_xact_id()::pg_catalog.xid THEN
        RAISE WARNING 'NOTHING WAS {done}: each statement is in a savepoint of its own, so that errors would be passed over. The session ends here.'
            USING HINT = 'psql -v ON_ERROR_ROLLBACK=off';
        PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());
    END IF;
    DROP TABLE pg_temp.kcopy_whole;
END
$body$;

