/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl: the operator's command. */
#include "mapctl/command.h"
#include "mapctl/settings.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum status (*run)(const struct settings *settings, char **operands, size_t count);
} COMMANDS[] = {
    { "migrate", command_migrate },
    { "status", command_status },
    { "check", command_check },
};

static void print_help(FILE *out)
{
    fputs(
        "Usage: mapctl [OPTIONS] COMMAND\n"
        "\n"
        "  migrate   bring the database to the newest migration; with --verify change nothing and\n"
        "            check that every migration is there and right\n"
        "  status    how database, mapperd and proxy are\n"
        "  check STORE CN IDENTITY METHOD TARGET\n"
        "            may the device with this certificate send this request, and which rows "
        "decide?\n"
        "            STORE CN   trust store and common name of the certificate\n"
        "            IDENTITY   user@domain of From\n"
        "            METHOD     INVITE, MESSAGE, REGISTER, ...\n"
        "            TARGET     user@domain, domain or tel:NUMBER; of a REGISTER: user@domain of "
        "To\n"
        "\n"
        "  --config FILE          take sockets and database from a configuration of mapperd or\n"
        "                         proxy; may be given twice\n"
        "  --mapperd-socket PATH  else MAPPERD_SOCKET, else /run/holdline/mapperd.sock\n"
        "  --proxy-socket PATH    else PROXY_SOCKET, else /run/holdline/proxy.sock\n"
        "  --database TEXT        libpq connection text or URI; else the PG... environment.\n"
        "                         migrate never takes it from --config: mapperd's role may not\n"
        "  --migrations DIR       folder with sqitch.plan; else the one installed with this "
        "program\n"
        "  --name IDENTITY        check: the certificate has this SIP name as well; may be "
        "repeated\n"
        "\n"
        "Exit status: 0 done, allowed, all is well; 1 failed, denied, something is not well;\n"
        "2 wrong usage; 3 mapperd, proxy or database does not answer.\n",
        out);
}

void complain(const char *format, ...)
{
    char text[2048];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    fprintf(stderr, "mapctl: %s\n", text);
}

void print_slice(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        putchar(c < 0x20 || c == 0x7f ? '?' : c);
    }
}

enum option_letter {
    OPTION_CONFIG = 1000,
    OPTION_MAPPERD,
    OPTION_PROXY,
    OPTION_DATABASE,
    OPTION_MIGRATIONS,
    OPTION_VERIFY,
    OPTION_NAME,
    OPTION_HELP
};

#define CONFIGS_MAX 4

/* Reads options into settings; STATUS_GOOD to go on. Configurations are read after all options,
 * which come first wherever they stand. */
static enum status read_options(int argc, char **argv, struct settings *settings, bool *help)
{
    static const struct option OPTIONS[] = {
        { "config", required_argument, NULL, OPTION_CONFIG },
        { "mapperd-socket", required_argument, NULL, OPTION_MAPPERD },
        { "proxy-socket", required_argument, NULL, OPTION_PROXY },
        { "database", required_argument, NULL, OPTION_DATABASE },
        { "migrations", required_argument, NULL, OPTION_MIGRATIONS },
        { "verify", no_argument, NULL, OPTION_VERIFY },
        { "name", required_argument, NULL, OPTION_NAME },
        { "help", no_argument, NULL, OPTION_HELP },
        { NULL, 0, NULL, 0 },
    };
    const char *configs[CONFIGS_MAX];
    size_t config_count = 0;

    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (option == OPTION_CONFIG && config_count < CONFIGS_MAX)
            configs[config_count++] = optarg;
        else if (option == OPTION_MAPPERD)
            settings->mapperd_socket = optarg;
        else if (option == OPTION_PROXY)
            settings->proxy_socket = optarg;
        else if (option == OPTION_DATABASE)
            settings->database = optarg;
        else if (option == OPTION_MIGRATIONS)
            settings->migrations = optarg;
        else if (option == OPTION_VERIFY)
            settings->verify = true;
        else if (option == OPTION_NAME && settings->name_count < NAMES_MAX)
            settings->names[settings->name_count++] = optarg;
        else if (option == OPTION_HELP)
            *help = true;
        else
            return STATUS_USAGE;
    }
    if (optind < argc && strcmp(argv[optind], "migrate") == 0 && settings->database == NULL)
        settings->database = "";
    for (size_t i = 0; i < config_count; i++) {
        if (settings_read_config(settings, configs[i]) != ERROR_NONE)
            return STATUS_USAGE;
    }
    settings_complete(settings);
    return STATUS_GOOD;
}

static enum status run_command(const struct settings *settings, char **words, size_t count)
{
    for (size_t i = 0; count > 0 && i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        if (strcmp(words[0], COMMANDS[i].name) == 0)
            return COMMANDS[i].run(settings, words + 1, count - 1);
    }
    complain(count > 0 ? "there is no command %s" : "no command is given", words[0]);
    return STATUS_USAGE;
}

int main(int argc, char **argv)
{
    struct settings settings = { 0 };
    bool help = false;
    enum status status = read_options(argc, argv, &settings, &help);

    if (help)
        print_help(stdout);
    else if (status == STATUS_GOOD)
        status = run_command(&settings, argv + optind, (size_t)(argc - optind));
    if (status == STATUS_USAGE)
        fputs("mapctl --help says how it is used.\n", stderr);
    settings_free(&settings);
    return (int)status;
}
