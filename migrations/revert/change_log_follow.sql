-- Revert holdline:change_log_follow from pg
BEGIN;
SET LOCAL search_path = public;

DROP FUNCTION change_log_follow(regclass);

DO $$
DECLARE
    followed text;
BEGIN
    FOREACH followed IN ARRAY ARRAY['trust_store', 'domain', 'sip_user', 'cn_mapping', 'user_group',
                                    'user_group_member', 'rights_rule', 'binding',
                                    'device_info', 'credential']
    LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE TRIGGER log_truncate', followed);
        EXECUTE format('DROP TRIGGER log_replicated ON public.%I', followed);
    END LOOP;
END
$$;

DROP FUNCTION change_log_row();

COMMIT;
