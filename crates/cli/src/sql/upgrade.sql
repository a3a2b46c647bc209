-- What an earlier version left. Functions are replaced where they are, so that what others were granted, and made of
-- them, stays. What is gone is dropped; so is what has other arguments or results now, and only its grants are kept.
DO $body$
DECLARE
    head text;
    routine regprocedure;
    before CONSTANT text[] := ARRAY(SELECT oid || ' ' || ctid FROM pg_proc WHERE pronamespace = 'kcopy'::regnamespace);
    grants CONSTANT text[] := ARRAY(
        SELECT format('GRANT EXECUTE ON ROUTINE kcopy.%I TO %s%s', proname, grantee::regrole,
                   CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
          FROM pg_proc CROSS JOIN aclexplode(proacl)
         WHERE pronamespace = 'kcopy'::regnamespace AND proname = ANY ({names}::name[])
           AND grantee NOT IN (0, proowner));
    statement text;
BEGIN
    FOREACH head IN ARRAY ARRAY[{heads}] LOOP
        statement := 'CREATE OR REPLACE FUNCTION ' || head || ' LANGUAGE plpgsql AS ''BEGIN END''';
        BEGIN
            EXECUTE statement;
        EXCEPTION WHEN invalid_function_definition OR wrong_object_type THEN
            FOR routine IN SELECT oid FROM pg_proc
                     WHERE pronamespace = 'kcopy'::regnamespace AND proname = substring(head FROM '^kcopy[.]([a-z_]+)') LOOP
                EXECUTE 'DROP ROUTINE ' || routine;
            END LOOP;
            EXECUTE statement;
        END;
    END LOOP;
    FOR routine IN SELECT oid FROM pg_proc
             WHERE pronamespace = 'kcopy'::regnamespace AND oid || ' ' || ctid = ANY (before) LOOP
        EXECUTE 'DROP ROUTINE ' || routine;
    END LOOP;
    -- Given back when new functions have lost what default privileges gave.
    PERFORM set_config('kcopy.grants', array_to_string(grants, '; '), true);
    -- Who owns a function can change it.
    FOR routine IN SELECT oid FROM pg_proc
             WHERE pronamespace = 'kcopy'::regnamespace AND proowner <> current_user::regrole LOOP
        EXECUTE format('ALTER ROUTINE %s OWNER TO %I', routine, current_user);
    END LOOP;
END
$body$;

-- A table that is made, or restored, may get the number of one that is gone, and must not get its positions.
DELETE FROM kcopy.offsets o WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = o.target);

