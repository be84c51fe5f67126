-- Revert holdline:canonical from pg
BEGIN;
SET LOCAL search_path = public;

DROP FUNCTION cn_canonical(text, text[], text);
DROP FUNCTION number_canonical(text);
DROP FUNCTION identity_canonical(text);
DROP FUNCTION user_part_canonical(text);
DROP FUNCTION domain_canonical(text);
DROP FUNCTION shown(text);

COMMIT;
