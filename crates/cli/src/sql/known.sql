-- What is there before anything is made; own.sql compares with it. `kcopy load` runs both as well, around offsets.sql.
SET LOCAL search_path = pg_catalog, pg_temp;
DO $body$
BEGIN
    -- Who installs and who loads for the first time make the same tables.
    PERFORM pg_advisory_xact_lock({lock});
    PERFORM set_config('kcopy.known', array_to_string(ARRAY(
        SELECT tableoid || '.' || oid FROM pg_namespace WHERE nspname = 'kcopy'
        UNION ALL
        SELECT tableoid || '.' || oid FROM pg_class WHERE relnamespace = to_regnamespace('kcopy')
        UNION ALL
        SELECT tableoid || '.' || oid FROM pg_proc WHERE pronamespace = to_regnamespace('kcopy')), ' '), true);
END
$body$;

