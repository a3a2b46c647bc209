
-- psql goes on behind an error and ends with 0, unless ON_ERROR_STOP is set. With the session it ends with 2.
DO $body$
BEGIN
    IF pg_catalog.current_setting('kcopy.done', true) IS DISTINCT FROM 'yes' THEN
        RAISE WARNING 'NOTHING WAS {done}: the first error above says why. The session ends here, so that no script goes on.'
            USING HINT = 'psql -v ON_ERROR_STOP=1 stops at the error itself';
        PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());
    END IF;
END
$body$;
