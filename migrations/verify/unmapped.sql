-- Verify holdline:unmapped on pg
BEGIN;
SET LOCAL search_path = public;

SELECT trust_store, cn, first_seen, last_seen, count, from_tried, address, reason
FROM unmapped_device WHERE false;
SELECT report_unmapped('{device}', '{verify}', '{1000}', '{2000}', '{3}', '{a@b.example}',
    '{192.0.2.1}', '{device-unknown}');
SELECT 1 / (has_table_privilege('holdline_mapperd', 'unmapped_device', 'insert')
            AND NOT has_table_privilege('holdline_admin', 'unmapped_device',
                                         'insert, update'))::integer;

ROLLBACK;
