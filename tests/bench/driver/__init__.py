# SPDX-License-Identifier: Apache-2.0
"""The driver of make bench.

    main.py       the command line, the order of runs, the table
    results.py    figures as TSV lines, medians
    machine.py    processors, CPU time and threads from /proc
    generator.py  sipload as a child process
    stack.py      our own stack, from the lab, pinned to one processor
    kamailio.py, redis.py   the peers
    relay.py      a unix socket between proxy and mapperd that can hold answers back
    parking.py, lookup.py, message.py, refusal.py, instructions.py   what is measured
"""
