-- Verify holdline:mapping on pg
BEGIN;
SET LOCAL search_path = public;

SELECT identity, domain, state, display_name, created_at FROM sip_user WHERE false;
SELECT trust_store, cn, identity, user_identity, created_at FROM cn_mapping WHERE false;
INSERT INTO trust_store (name, cn_form) VALUES ('verify-holdline', 'mac');
INSERT INTO domain (name) VALUES ('verify.holdline.example');
INSERT INTO cn_mapping (trust_store, cn, identity)
VALUES ('verify-holdline', '00:04:f2:24:a6:ac', 'alice@Verify.Holdline.Example');
SELECT 1 / count(*) FROM cn_mapping m JOIN sip_user u ON u.identity = m.user_identity
WHERE m.trust_store = 'verify-holdline' AND m.cn = '0004F224A6AC'
  AND u.identity = 'alice@verify.holdline.example';
SET CONSTRAINTS ALL IMMEDIATE;
SELECT 1 / (has_table_privilege('holdline_mapperd', 'cn_mapping', 'select')
            AND NOT has_table_privilege('holdline_mapperd', 'cn_mapping',
                                         'insert, update, delete'))::integer;

ROLLBACK;
