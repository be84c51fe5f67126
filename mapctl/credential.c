/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl credential: sets a user's password for digest authentication. The password is read here
 * and goes no further: what is sent are its hashes (RFC 7616 3.4.2), bound, so that they stand in
 * no statement. */
#include "mapctl/commands.h"
#include "mapctl/postgres.h"

#include "common/buffer.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { CREDENTIAL_REALM = 1, CREDENTIAL_USERNAME, CREDENTIAL_DELETE };

#define PASSWORD_MAX 512

/* One line of standard input without its end; on a terminal it is not shown. False: already said.
 */
static bool read_line(const char *prompt, char out[PASSWORD_MAX + 2])
{
    struct termios shown, hidden;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &shown) == 0;
    bool got;
    size_t size;

    if (terminal) {
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
        fputs(prompt, stderr);
    }
    got = fgets(out, PASSWORD_MAX + 2, stdin) != NULL;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
        fputc('\n', stderr);
    }
    size = got ? strlen(out) : 0;
    if (size > 0 && out[size - 1] == '\n')
        out[--size] = '\0';
    if (size > 0 && out[size - 1] == '\r')
        out[--size] = '\0';
    if (size == 0 || size > PASSWORD_MAX) {
        complain("the password must have 1 to %d octets, on one line of standard input",
                 PASSWORD_MAX);
        return false;
    }
    return true;
}

/* Twice where a person types what it can't see. */
static bool read_password(char out[PASSWORD_MAX + 2])
{
    char again[PASSWORD_MAX + 2];
    bool same;

    if (!read_line("Password: ", out))
        return false;
    if (!isatty(STDIN_FILENO))
        return true;
    same = read_line("Again: ", again) && strcmp(out, again) == 0;
    if (!same)
        complain("the two differ; nothing was changed");
    OPENSSL_cleanse(again, sizeof(again));
    return same;
}

static bool hash(const EVP_MD *algorithm, struct slice text, char out[2 * EVP_MAX_MD_SIZE + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size;

    if (EVP_Digest(text.data, text.size, digest, &size, algorithm, NULL) != 1)
        return false;
    for (unsigned i = 0; i < size; i++)
        snprintf(out + (size_t)2 * i, 3, "%02x", digest[i]);
    OPENSSL_cleanse(digest, sizeof(digest));
    return true;
}

struct hashes {
    char sha256[2 * EVP_MAX_MD_SIZE + 1], md5[2 * EVP_MAX_MD_SIZE + 1];
};

static bool make_hashes(const char *username, const char *realm, const char *password,
                        struct hashes *out)
{
    char text[3 * PASSWORD_MAX + 3];
    int size = snprintf(text, sizeof(text), "%s:%s:%s", username, realm, password);
    bool made = size > 0 && (size_t)size < sizeof(text) &&
                hash(EVP_sha256(), (struct slice){ text, (size_t)size }, out->sha256) &&
                hash(EVP_md5(), (struct slice){ text, (size_t)size }, out->md5);

    OPENSSL_cleanse(text, sizeof(text));
    if (!made)
        complain("the hashes can't be made: username or realm is too long");
    return made;
}

/* As the table's constraints, so that the server has nothing to refuse: what it refuses, it may log
 * with the whole row. */
static bool can_be_quoted(const char *what, const char *text, bool colon)
{
    size_t size = strlen(text);
    bool good = size > 0 && size <= 128;

    for (size_t i = 0; good && i < size; i++)
        good = (unsigned char)text[i] >= 0x20 && text[i] != 0x7f && text[i] != '"' &&
               text[i] != '\\' && (colon || text[i] != ':');
    if (!good)
        complain(
            "%s must have 1 to 128 octets without quotes, backslashes%s and control characters",
            what, colon ? "" : ", colons");
    return good;
}

static enum status set(PGconn *connection, const char *identity, const char *realm,
                       const char *username)
{
    char password[PASSWORD_MAX + 2];
    struct hashes hashes;
    PGresult *result = NULL;

    if (!can_be_quoted("the realm", realm, true) || !can_be_quoted("the username", username, false))
        return STATUS_USAGE;
    if (read_password(password) && make_hashes(username, realm, password, &hashes)) {
        const char *values[] = { identity, realm, hashes.sha256, hashes.md5, username };
        result = postgres_query_with(
            connection, "SELECT public.set_credential_ha1($1, $2, $3, $4, $5)", values, 5);
        OPENSSL_cleanse(&hashes, sizeof(hashes));
    }
    OPENSSL_cleanse(password, sizeof(password));
    PQclear(result);
    return result != NULL ? STATUS_GOOD : STATUS_BAD;
}

/* What was done, in one line or as a document. */
static void print_done(bool json, const char *done, const char *identity, const char *realm)
{
    json_t *document;

    if (!json) {
        printf("%s: password for realm %s %s\n", identity, realm, done);
        return;
    }
    document = output_object();
    output_set(document, "identity", output_text(slice_of(identity)));
    output_set(document, "realm", output_text(slice_of(realm)));
    output_set(document, "done", output_text(slice_of(done)));
    output_document(document);
}

static enum status forget(PGconn *connection, const char *identity, const char *realm)
{
    const char *values[] = { identity, realm };
    PGresult *result = postgres_query_with(
        connection,
        "DELETE FROM public.credential c WHERE c.identity = $1 AND c.realm = $2 RETURNING 1",
        values, 2);
    int gone = result != NULL ? PQntuples(result) : -1;

    PQclear(result);
    if (gone == 0)
        complain("%s has no credential for realm %s", identity, realm);
    return gone > 0 ? STATUS_GOOD : STATUS_BAD;
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    PGconn *connection = postgres_open(settings->database);
    PGresult *canonical;
    enum status status = STATUS_BAD;

    if (connection == NULL)
        return STATUS_UNREACHABLE;
    canonical = postgres_query_with(
        connection,
        "SELECT i, split_part(i, '@', 1), split_part(i, '@', 2), strpos(i, '@') > 0,"
        " strpos(i, '%') > 0 FROM public.identity_canonical($1) AS i",
        (const char *const *)arguments->operands, 1);
    if (canonical != NULL) {
        const char *identity = PQgetvalue(canonical, 0, 0);
        const char *username =
            option_text(arguments, CREDENTIAL_USERNAME, PQgetvalue(canonical, 0, 1));
        const char *realm = option_text(arguments, CREDENTIAL_REALM, PQgetvalue(canonical, 0, 2));
        if (PQgetvalue(canonical, 0, 3)[0] != 't')
            complain("%s is a domain; only a user has a password", identity);
        else if (option_given(arguments, CREDENTIAL_DELETE))
            status = forget(connection, identity, realm);
        else if (PQgetvalue(canonical, 0, 4)[0] == 't' &&
                 !option_given(arguments, CREDENTIAL_USERNAME))
            complain("%s has an escape: give the name that the phone uses with --username",
                     identity);
        else
            status = set(connection, identity, realm, username);
        if (status == STATUS_GOOD)
            print_done(settings->json,
                       option_given(arguments, CREDENTIAL_DELETE) ? "deleted" : "set", identity,
                       realm);
    }
    PQclear(canonical);
    PQfinish(connection);
    return status;
}

static const struct option_row OPTIONS[] = {
    { CREDENTIAL_REALM, "realm", VALUE_TEXT, "REALM", "realm of the challenge; else the domain" },
    { CREDENTIAL_USERNAME, "username", VALUE_TEXT, "NAME",
      "name that the phone authenticates with; else the user part" },
    { CREDENTIAL_DELETE, "delete", VALUE_NONE, NULL,
      "take the user's password for the realm away" },
    { 0 },
};

const struct command command_credential = {
    .name = "credential",
    .operands = "USER@DOMAIN",
    .operand_kind = VALUE_TEXT,
    .operands_min = 1,
    .operands_max = 1,
    .brief = "set a user's password for digest authentication",
    .help = "The password is one line of standard input, asked for twice on a terminal. Its hashes "
            "alone are sent and kept. The user is made if it is absent; its registrations by the "
            "old password end.",
    .options = OPTIONS,
    .administers = true,
    .run = run,
};
