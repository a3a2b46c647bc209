-- The functions, and what is made of them.
DROP VIEW IF EXISTS kcopy.progress;
DO $body$
DECLARE
    routine text;
BEGIN
    FOR routine IN SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = to_regnamespace('kcopy') LOOP
        EXECUTE 'DROP ROUTINE ' || routine;
    END LOOP;
END
$body$;

