-- Revert holdline:device_info from pg
BEGIN;
SET LOCAL search_path = public;

-- Without the table, what disabled took would be given back.
DO $$
BEGIN
    IF EXISTS (SELECT FROM device_info WHERE state = 'disabled') THEN
        RAISE EXCEPTION USING MESSAGE = 'there are disabled devices, which the older schema would '
                                        'let in again',
            HINT = 'Retire them: SELECT retire_device(cn, trust_store) FROM device_info WHERE '
                   'state = ''disabled''; then set their state to known.';
    END IF;
END
$$;

DROP TRIGGER keep_devices ON trust_store;
SELECT audit_unfollow('device_info');
DROP TABLE device_info;
DROP FUNCTION binding_follow_device();
DROP FUNCTION change_log_device_info();
DROP FUNCTION trust_store_keep_devices();
DROP FUNCTION device_info_keep_disabled();
DROP FUNCTION device_info_make_canonical();

COMMIT;
