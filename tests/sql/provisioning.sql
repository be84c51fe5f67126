-- SPDX-License-Identifier: Apache-2.0
-- What people insert: it becomes canonical, makes the users that it needs, or is refused with what
-- to write instead.
\set QUIET on
BEGIN;
SELECT no_plan();

-- sqlstate, message and hint of a statement that must fail; 'accepted' when it does not.
CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; hint text; constraint_name text;
BEGIN
    EXECUTE statement;
    SET CONSTRAINTS ALL IMMEDIATE;
    SET CONSTRAINTS ALL DEFERRED;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT,
        constraint_name = CONSTRAINT_NAME;
    IF constraint_name <> '' THEN
        RETURN state || ' constraint ' || constraint_name;
    END IF;
    RETURN state || ' ' || message || ' HINT ' || hint;
END
$$;

-- results_eq() cannot compare columns of two collations.
CREATE FUNCTION pg_temp.same(have text, want text, description text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    have_rows text; want_rows text;
BEGIN
    EXECUTE format('SELECT string_agg(h::text, '' '') FROM (%s) h', have) INTO have_rows;
    EXECUTE format('SELECT string_agg(w::text, '' '') FROM (%s) w', want) INTO want_rows;
    RETURN is(have_rows, want_rows, description);
END
$$;
CREATE FUNCTION pg_temp.same(have text, want text[], description text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.same(have, format('SELECT unnest(%L::text[])', want), description)
$$;

INSERT INTO domain (name) VALUES ('Example.ORG.'), ('example.net');
SELECT pg_temp.same('SELECT name FROM domain ORDER BY 1', ARRAY['example.net', 'example.org'], 'domains are canonical');

-- One insert of two columns.
INSERT INTO cn_mapping (cn, identity) VALUES ('00:04:f2:24:a6:ac', 'sip:Alice@EXAMPLE.org');
SELECT pg_temp.same('SELECT trust_store, cn, identity, user_identity FROM cn_mapping',
    $$VALUES ('device', '0004F224A6AC', 'Alice@example.org', 'Alice@example.org')$$, 'one insert is all that a phone needs');
SELECT pg_temp.same('SELECT identity, domain, state FROM sip_user',
    $$VALUES ('Alice@example.org', 'example.org', 'enabled')$$, 'its user is made');
INSERT INTO cn_mapping (cn, identity) VALUES ('0004F224A6AC', 'Alice@example.org') ON CONFLICT DO NOTHING;
INSERT INTO cn_mapping (cn, identity) VALUES ('0004-f224-a6ac', 'Alice@example.org')
    ON CONFLICT (trust_store, cn, identity) DO UPDATE SET created_at = excluded.created_at;
SELECT is((SELECT count(*) FROM cn_mapping), 1::bigint, 'another spelling is the same row to ON CONFLICT');
SELECT matches(pg_temp.refusal($$INSERT INTO cn_mapping (cn, identity) VALUES ('0004.f224.a6ac', 'Alice@example.org')$$),
    '^23505 ', 'another spelling is a duplicate');

-- Other domains and whole domains make no user and no domain.
INSERT INTO cn_mapping (cn, identity) VALUES ('000000000001', 'bob@elsewhere.example'), ('000000000001', 'example.org'),
    ('000000000001', 'elsewhere.example'), ('000000000002', 'carol@example.net');
SELECT pg_temp.same('SELECT identity FROM cn_mapping WHERE user_identity IS NULL ORDER BY 1',
    ARRAY['bob@elsewhere.example', 'elsewhere.example', 'example.org'], 'foreign users and whole domains have no user');
SELECT pg_temp.same('SELECT identity FROM sip_user ORDER BY 1', ARRAY['Alice@example.org', 'carol@example.net'], 'only ours are made');
SELECT is((SELECT count(*) FROM domain), 2::bigint, 'a mapping makes no domain');

-- A domain that becomes ours, and its user's row, take over the older mapping.
INSERT INTO domain (name) VALUES ('elsewhere.example');
SELECT is((SELECT count(*) FROM sip_user WHERE domain = 'elsewhere.example'), 0::bigint, 'a new domain makes no users');
INSERT INTO sip_user (identity, display_name) VALUES ('sips:bob@Elsewhere.Example', 'Bob');
SELECT is((SELECT user_identity FROM cn_mapping WHERE identity = 'bob@elsewhere.example'), 'bob@elsewhere.example',
    'a user''s row takes over mappings that are older');
DELETE FROM sip_user WHERE identity = 'bob@elsewhere.example';
SELECT is((SELECT count(*) FROM cn_mapping WHERE identity = 'bob@elsewhere.example'), 0::bigint, 'and they go with it');

-- Changes.
UPDATE cn_mapping SET cn = '00-00-00-00-00-03', identity = 'dave@example.org' WHERE identity = 'carol@example.net';
SELECT pg_temp.same($$SELECT cn, user_identity FROM cn_mapping WHERE identity = 'dave@example.org'$$,
    $$VALUES ('000000000003', 'dave@example.org')$$, 'an update is made canonical too');
SELECT isnt((SELECT identity FROM sip_user WHERE identity = 'dave@example.org'), NULL, 'an update makes its user');
DELETE FROM sip_user WHERE identity = 'dave@example.org';
SELECT is((SELECT count(*) FROM cn_mapping WHERE identity = 'dave@example.org'), 0::bigint, 'deleting a user deletes its mappings');
UPDATE sip_user SET state = 'disabled' WHERE identity = 'carol@example.net';
INSERT INTO cn_mapping (cn, identity) VALUES ('000000000004', 'carol@example.net');
SELECT is((SELECT state FROM sip_user WHERE identity = 'carol@example.net'), 'disabled', 'a new mapping gives back nothing');
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;

-- CN: every trust store by its form.
INSERT INTO trust_store (name, cn_form, cn_prefixes) VALUES ('cisco', 'mac', '{SEP}'), ('partner', DEFAULT, DEFAULT);
INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('cisco', 'sep0004f224a6ac', 'x@other.example'),
    ('corp', 'Alice Smith', 'y@other.example'), ('partner', '00:04:f2:24:a6:ac', 'z@other.example');
SELECT pg_temp.same($$SELECT cn FROM cn_mapping WHERE identity LIKE '_@other.example' ORDER BY identity$$,
    ARRAY['0004F224A6AC', 'Alice Smith', '00:04:f2:24:a6:ac'], 'the form of the store is the form of its CNs');
SELECT matches(pg_temp.refusal($$INSERT INTO cn_mapping (cn, identity) VALUES ('Alice Smith', 'a@example.org')$$),
    '^23514 "Alice Smith" is not a MAC address.* HINT Write twelve hexadecimal digits, such as 0004F224A6AC.*corp', 'a CN that is no MAC');
SELECT matches(pg_temp.refusal($$INSERT INTO cn_mapping (cn, identity) VALUES ('SEP0004F224A6AC', 'a@example.org')$$),
    '^23514 ', 'a prefix that is not of this store');
SELECT is(pg_temp.refusal($$INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('phones', '0004F224A6AC', 'a@example.org')$$),
    '23503 there is no trust store "phones" HINT Write one of: cisco, corp, device, partner.', 'a store that is not there');
SELECT matches(pg_temp.refusal($$INSERT INTO cn_mapping (cn, identity) VALUES (NULL, 'a@example.org')$$), '^23502 null value in column "cn"', 'no CN');
SELECT matches(pg_temp.refusal($$INSERT INTO cn_mapping (cn) VALUES ('0004F224A6AC')$$), '^23502 null value in column "identity"', 'no identity');
SELECT matches(pg_temp.refusal($$INSERT INTO cn_mapping (trust_store, cn, identity) VALUES (NULL, '0004F224A6AC', 'a@b.c')$$),
    '^23502 null value in column "trust_store"', 'no store');

-- Identity: what to write instead.
SELECT is(pg_temp.refusal(format('INSERT INTO cn_mapping (cn, identity) VALUES (''0004F224A6AD'', %L)', written)), refusal,
          format('%s is refused with what to write instead', written))
FROM (VALUES
    ('alice', '23514 identity "alice" has no domain HINT Write user@domain: alice@example.org. A whole domain of one word must be in table domain first.'),
    ('2000', '23514 identity "2000" has no domain HINT Write the number as a user of your domain: 2000@example.org.'),
    ('tel:+49-30-1', '23514 identity "tel:+49-30-1" has no domain HINT Write the number as a user of your domain: +49301@example.org.'),
    ('alice@example.org:5061', '23514 identity "alice@example.org:5061" has a port, parameters or headers HINT Write user and domain alone: alice@example.org'),
    ('sip:alice@example.org;transport=tls', '23514 identity "sip:alice@example.org;transport=tls" has a port, parameters or headers HINT Write user and domain alone: alice@example.org'),
    ('@example.org', '23514 identity "@example.org" has no user before the @ HINT Write user@domain, or for every user of the domain: example.org'),
    ('', '23514 identity is empty HINT Write user@domain, such as alice@example.org, or a whole domain, such as example.org.'),
    ('a#b@example.org', '23514 user "a#b" has a character that must be escaped HINT Write %23 instead of "#".'),
    ('al%6@example.org', '23514 user "al%6" has a % without two hexadecimal digits HINT Write the character itself, or %25 for a percent sign.'),
    ('a%00@example.org', '23514 user "a%00" has the escape %00, a control character HINT Leave it out: no SIP user has control characters.'),
    ('alice@exam_ple.org', '23514 "exam_ple.org" is not a domain HINT Write a host name of letters, digits and hyphens, such as example.org: no port, no parameters, no underscore; an international name in its xn-- form.')
) AS bad (written, refusal);
INSERT INTO domain (name) VALUES ('localhost');
SELECT is(pg_temp.refusal($$INSERT INTO cn_mapping (cn, identity) VALUES ('0004F224A6AD', 'localhost')$$), 'accepted',
    'a domain of one word that is ours');
SELECT is(pg_temp.refusal($$INSERT INTO cn_mapping (cn, identity) VALUES ('0004F224A6AD', 'alice@pbx')$$), 'accepted',
    'a user of a domain of one word');

-- Users.
SELECT is(pg_temp.refusal($$INSERT INTO sip_user (identity) VALUES ('example.org')$$),
    '23514 "example.org" is a domain, not a user HINT Write user@example.org; a domain of ours goes into table domain.', 'a domain is no user');
SELECT is(pg_temp.refusal($$INSERT INTO sip_user (identity) VALUES ('a@foreign.example')$$),
    '23503 "foreign.example" is not one of our domains HINT If it is to be ours: INSERT INTO domain (name) VALUES (''foreign.example'')', 'users are ours');
SELECT is(pg_temp.refusal($$UPDATE sip_user SET state = 'off'$$), '23514 constraint sip_user_state_must_be_enabled_or_disabled', 'a state that is none');
SELECT is(pg_temp.refusal($$UPDATE sip_user SET display_name = E'a\nb'$$),
    '23514 constraint sip_user_display_name_must_be_1_to_128_without_controls', 'a display name with a line break');
SELECT is(pg_temp.refusal($$DELETE FROM domain WHERE name = 'example.org'$$), '23503 constraint sip_user_domain_must_be_ours', 'a domain with users stays');

-- No delete gives back what disabled took.
SELECT matches(pg_temp.refusal($$DELETE FROM sip_user WHERE identity = 'carol@example.net'$$),
    '^23514 user "carol@example.net" is disabled and cannot be deleted or renamed.* HINT Delete its rows of cn_mapping and leave the user disabled', 'a disabled user stays');
SELECT matches(pg_temp.refusal($$UPDATE sip_user SET identity = 'c@example.net' WHERE identity = 'carol@example.net'$$), '^23514 ',
    'a disabled user keeps its name');
UPDATE trust_store SET state = 'disabled' WHERE name = 'partner';
SELECT matches(pg_temp.refusal($$DELETE FROM trust_store WHERE name = 'partner'$$), '^23514 trust store "partner" is disabled', 'a disabled store stays');
SELECT matches(pg_temp.refusal($$UPDATE trust_store SET name = 'p' WHERE name = 'partner'$$), '^23514 trust store "partner" is disabled', 'a disabled store keeps its name');

-- Trust stores and domains.
SELECT is(pg_temp.refusal(statement), refusal, refusal) FROM (VALUES
    ($$INSERT INTO trust_store (name) VALUES ('Device 2')$$, '23514 constraint trust_store_name_must_be_1_to_32_of_a_z_0_9_underscore_hyphen'),
    ($$INSERT INTO trust_store (name, cn_form) VALUES ('a', 'serial')$$, '23514 constraint trust_store_cn_form_must_be_mac_or_exact'),
    ($$INSERT INTO trust_store (name, cn_prefixes) VALUES ('a', '{SEP}')$$, '23514 constraint trust_store_cn_prefixes_need_cn_form_mac'),
    ($$INSERT INTO trust_store (name, cn_form, cn_prefixes) VALUES ('a', 'mac', '{SEP,NULL}')$$, '23514 constraint trust_store_cn_prefixes_must_be_at_most_16_without_null'),
    ($$UPDATE trust_store SET state = 'on'$$, '23514 constraint trust_store_state_must_be_enabled_or_disabled'),
    ($$UPDATE domain SET state = ''$$, '23514 constraint domain_state_must_be_enabled_or_disabled'),
    ($$INSERT INTO domain (name) VALUES ('example.org:5060')$$, '23514 "example.org:5060" is not a domain HINT Write a host name of letters, digits and hyphens, such as example.org: no port, no parameters, no underscore; an international name in its xn-- form.'),
    ($$UPDATE trust_store SET cn_form = 'exact' WHERE name = 'device'$$, '23514 trust store "device" has mappings, so its cn_form cannot change HINT Delete its mappings first, or make another trust store.')
) AS bad (statement, refusal);

-- Rules.
SELECT pg_temp.same('SELECT position, who_kind, who, trust_store, methods, target_kind, target, effect FROM rights_rule',
    $$VALUES (1000, 'everyone', NULL, NULL, NULL::text[], 'ours', NULL, 'allow'), (1000, 'group', 'foreign', NULL, NULL, 'ours', NULL, 'allow')$$,
    'the shipped set: ours to ours, others to ours, nothing else leaves');
INSERT INTO user_group (name) VALUES ('staff');
INSERT INTO user_group_member (group_name, identity) VALUES ('staff', 'sip:Alice@example.ORG');
INSERT INTO rights_rule (who_kind, who, trust_store, methods, target_kind, target, effect, valid_from, valid_until, calls_per_minute)
VALUES ('group', 'staff', 'corp', '{message, INVITE,invite}', 'number', 'tel:+49 (30)-1', 'allow', '2026-01-01 00:00:00.5Z', '2027-01-01Z', 10),
       ('user', 'sip:Alice@Example.org', NULL, NULL, 'user', 'bob@PBX.example.', 'deny', NULL, NULL, NULL),
       ('domain', 'Example.NET', NULL, NULL, 'domain', 'PBX.example', 'allow', NULL, NULL, NULL);
SELECT pg_temp.same($$SELECT position, who, methods, target, valid_from FROM rights_rule WHERE position = 100 ORDER BY id$$,
    $$VALUES (100, 'staff', '{INVITE,MESSAGE}'::text[], '+49301', '2026-01-01Z'::timestamptz), (100, 'Alice@example.org', NULL, 'bob@pbx.example', NULL),
             (100, 'example.net', NULL, 'pbx.example', NULL)$$, 'a rule''s values are canonical');
SELECT is(pg_temp.refusal('INSERT INTO rights_rule ' || written), refusal, refusal) FROM (VALUES
    ($$(effect) VALUES ('maybe')$$, '23514 constraint rights_rule_effect_must_be_allow_deny_or_challenge'),
    ($$(who_kind, effect) VALUES ('all', 'allow')$$, '23514 constraint rights_rule_who_kind_must_be_everyone_domain_group_or_user'),
    ($$(who, effect) VALUES ('staff', 'allow')$$, '23514 constraint rights_rule_who_must_be_null_for_everyone_and_only_then'),
    ($$(who_kind, effect) VALUES ('user', 'allow')$$, '23514 constraint rights_rule_who_must_be_null_for_everyone_and_only_then'),
    ($$(who_kind, who, effect) VALUES ('group', 'boss', 'allow')$$, '23503 constraint rights_rule_who_group_fkey'),
    ($$(who_kind, who, effect) VALUES ('user', 'nobody@example.org', 'allow')$$, '23503 constraint rights_rule_who_user_fkey'),
    ($$(who_kind, who, effect) VALUES ('domain', 'foreign.example', 'allow')$$, '23503 constraint rights_rule_who_domain_fkey'),
    ($$(trust_store, effect) VALUES ('phones', 'allow')$$, '23503 constraint rights_rule_trust_store_fkey'),
    ($$(methods, effect) VALUES ('{}', 'allow')$$, '23514 methods is empty, so the rule would match nothing HINT Write NULL for every method, or name some: {INVITE,MESSAGE}.'),
    ($$(methods, effect) VALUES ('{*}', 'allow')$$, '23514 "*" is not a SIP method HINT Write names such as {INVITE,MESSAGE}; NULL in place of the whole list for every method.'),
    ($$(methods, effect) VALUES ('{INVITE,NULL}', 'allow')$$, '23514 NULL is not a SIP method HINT Write names such as {INVITE,MESSAGE}; NULL in place of the whole list for every method.'),
    ($$(methods, effect) VALUES ('{"INVITE,BYE"}', 'allow')$$, '23514 "INVITE,BYE" is not a SIP method HINT Write names such as {INVITE,MESSAGE}; NULL in place of the whole list for every method.'),
    ($$(target, effect) VALUES ('example.org', 'allow')$$, '23514 constraint rights_rule_target_must_be_null_for_any_and_ours_and_only_then'),
    ($$(target_kind, effect) VALUES ('domain', 'allow')$$, '23514 constraint rights_rule_target_must_be_null_for_any_and_ours_and_only_then'),
    ($$(target_kind, target, effect) VALUES ('prefix', '+49', 'allow')$$, '23514 constraint rights_rule_target_kind_must_be_ours_user_domain_number_service'),
    ($$(target_kind, target, effect) VALUES ('number', '+49x', 'allow')$$, '23514 "+49x" is not a number HINT Write digits, with + before a country code, such as +4930 or 0900.'),
    ($$(target_kind, target, effect) VALUES ('user', 'example.org', 'allow')$$, '23514 target "example.org" is a domain, not a user HINT Write user@domain, or target_kind ''domain''.'),
    ($$(target_kind, target, effect) VALUES ('service', 'sos fire', 'allow')$$, '23514 "sos fire" is not a service HINT Write it as in RFC 5031: sos, sos.fire or urn:service:sos.police.'),
    ($$(target_kind, target, effect) VALUES ('service', 'sos..fire', 'allow')$$, '23514 "sos..fire" is not a service HINT Write it as in RFC 5031: sos, sos.fire or urn:service:sos.police.'),
    ($$(target_kind, target, effect) VALUES ('service', 'sos.-fire', 'allow')$$, '23514 "sos.-fire" is not a service HINT Write it as in RFC 5031: sos, sos.fire or urn:service:sos.police.'),
    ($$(target_kind, target, effect) VALUES ('service', 'sos-', 'allow')$$, '23514 "sos-" is not a service HINT Write it as in RFC 5031: sos, sos.fire or urn:service:sos.police.'),
    ($$(who_kind, who, effect) VALUES ('foreign', 'partner.example', 'allow')$$, '23514 constraint rights_rule_who_kind_must_be_everyone_domain_group_or_user'),
    ($$(effect, valid_from) VALUES ('allow', 'infinity')$$, '23514 constraint rights_rule_valid_from_must_be_after_1970'),
    ($$(effect, valid_from, valid_until) VALUES ('allow', '2026-01-02', '2026-01-01')$$, '23514 constraint rights_rule_valid_until_must_be_later_than_valid_from'),
    ($$(effect, calls_per_minute) VALUES ('allow', 0)$$, '23514 constraint rights_rule_calls_per_minute_must_be_1_to_1000000_of_an_allow'),
    ($$(effect, calls_per_minute) VALUES ('deny', 5)$$, '23514 constraint rights_rule_calls_per_minute_must_be_1_to_1000000_of_an_allow')
) AS bad (written, refusal);
SELECT matches(pg_temp.refusal(format('INSERT INTO rights_rule (methods, effect) VALUES (%L, ''allow'')',
    ARRAY(SELECT 'M' || n FROM generate_series(1, 33) n))), 'rights_rule_methods_must_be_1_to_32_names', 'methods are bounded');
SELECT is(pg_temp.refusal($$INSERT INTO user_group (name) VALUES ('the staff')$$),
    '23514 constraint user_group_name_must_be_1_to_64_of_letters_digits_dot_hyphen', 'a group with a space');
-- Who is not ours.
INSERT INTO rights_rule (position, who_kind, target_kind, target, effect) VALUES (1, 'anonymous', 'service', ' URN:service:SOS.Fire', 'allow'),
    (1, 'foreign', 'service', 'sos', 'allow');
SELECT pg_temp.same('SELECT who_kind, who, target FROM rights_rule WHERE position = 1 ORDER BY id',
    $$VALUES ('group', 'anonymous', 'sos.fire'), ('group', 'foreign', 'sos')$$, 'foreign and anonymous are groups; a service is canonical');
DELETE FROM rights_rule WHERE position = 1;
SELECT is(pg_temp.refusal($$INSERT INTO user_group_member VALUES ('foreign', 'Alice@example.org')$$),
    '23514 constraint user_group_member_users_are_never_foreign_or_anonymous', 'no user of ours is foreign');
SELECT is(pg_temp.refusal($$DELETE FROM user_group WHERE name = 'staff'$$), '23503 constraint rights_rule_who_group_fkey',
    'a group with rules stays: its denials would go with it');
DELETE FROM rights_rule WHERE who_kind = 'group';
DELETE FROM user_group WHERE name = 'staff';
SELECT is((SELECT count(*) FROM user_group_member), 0::bigint, 'members go with their group');
DELETE FROM sip_user WHERE identity = 'Alice@example.org';
SELECT is((SELECT count(*) FROM rights_rule WHERE who_kind = 'user'), 0::bigint, 'a user''s rules go with it');

-- Functions that take any spelling.
INSERT INTO cn_mapping (cn, identity) VALUES ('0004F224A6AC', 'alice@example.org'), ('0004F224A6AC', 'example.net');
SELECT is(device_cn('00:04:f2:24:a6:ac'), '0004F224A6AC', 'device_cn takes any spelling');
SELECT is(device_cn('SEP0004f224a6ac', 'cisco'), '0004F224A6AC', 'device_cn knows the store''s prefixes');
SELECT is(device_cn('Alice Smith', 'corp'), 'Alice Smith', 'device_cn of a store with exact names');
SELECT matches(pg_temp.refusal($$SELECT device_cn('0004')$$), '^23514 "0004" is not a MAC address.*HINT Write twelve', 'device_cn of no MAC');
SELECT matches(pg_temp.refusal($$SELECT device_cn('0004F224A6AC', 'phones')$$), '^P0002 there is no trust store "phones" HINT Write one of', 'device_cn of no store');
DELETE FROM cn_mapping WHERE cn = '00:04:f2:24:a6:ac' AND trust_store = 'device';
SELECT is((SELECT count(*) FROM cn_mapping WHERE trust_store = 'device' AND cn = '0004F224A6AC'), 2::bigint, 'a DELETE by another spelling finds nothing');
SELECT is(retire_device('0004-F224-a6ac'), 2::bigint, 'retire_device takes any spelling and says how many');
SELECT is((SELECT count(*) FROM cn_mapping WHERE trust_store = 'device' AND cn = '0004F224A6AC'), 0::bigint, 'and the phone is gone');
SELECT is((SELECT count(*) FROM cn_mapping WHERE trust_store = 'partner' AND cn = '00:04:f2:24:a6:ac'), 1::bigint, 'in its own store only');
SELECT isnt((SELECT identity FROM sip_user WHERE identity = 'alice@example.org'), NULL, 'its user stays');
SELECT matches(pg_temp.refusal($$SELECT retire_device('0004F224A6AC')$$),
    '^P0002 device "0004F224A6AC" of trust store "device" has no mapping HINT ', 'retire_device says when nothing matched');
SELECT matches(pg_temp.refusal($$SELECT retire_device(NULL)$$), '^22004 no device is named', 'retire_device of nothing');
SELECT is(retire_device('Alice Smith', 'corp'), 1::bigint, 'retire_device in another store');

SELECT lives_ok($$INSERT INTO rights_rule (methods, effect) VALUES ('{INVITE}', 'challenge')$$, 'F45 a rule may ask for a password');

SELECT * FROM finish();
ROLLBACK;
