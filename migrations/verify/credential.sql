-- Verify holdline:credential on pg
BEGIN;
SET LOCAL search_path = public;

SELECT identity, realm, username, ha1_sha256, ha1_md5, changed_at FROM credential WHERE false;
INSERT INTO domain (name) VALUES ('verify.holdline.example');
SELECT set_credential('alice@verify.holdline.example', 'r', 'p');
SELECT 1 / count(*) FROM credential
WHERE identity = 'alice@verify.holdline.example' AND realm = 'r' AND username = 'alice'
  AND ha1_md5 = md5('alice:r:p') AND ha1_sha256 = encode(sha256('alice:r:p'), 'hex');
SELECT 1 / (has_table_privilege('holdline_mapperd', 'credential', 'select')
            AND NOT has_table_privilege('holdline_mapperd', 'credential',
                                         'insert, update, delete')
            AND NOT has_column_privilege('holdline_admin', 'credential', 'ha1_sha256', 'select')
            AND NOT has_column_privilege('holdline_admin', 'credential', 'ha1_md5', 'select')
            )::integer;

ROLLBACK;
